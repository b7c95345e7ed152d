#include "bliss/comm/environment.hpp"

#include "bliss/core/error.hpp"
#include "check.hpp"

#include <mpi.h>

#include <cstdlib>
#include <exception>

namespace bliss::comm {

using detail::check;

Environment::Environment() : exceptions_at_start_{std::uncaught_exceptions()} {
    int granted = MPI_THREAD_SINGLE;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &granted), "MPI_Init_thread");
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    if (granted < MPI_THREAD_MULTIPLE) {
        throw MpiError(
            "this MPI library does not allow calls from several threads (MPI_THREAD_MULTIPLE); use one built with thread support");
    }
}

Environment::~Environment() {
    if (std::uncaught_exceptions() > exceptions_at_start_) return;
    int ended = 0;
    if (MPI_Finalized(&ended) == MPI_SUCCESS && !ended) MPI_Finalize();
}

std::string library_version() {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
    int length = 0;
    check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
    const std::string all{text, static_cast<std::size_t>(length)};
    return all.substr(0, all.find(','));
}

void abort_all_ranks(int exit_status) {
    int started = 0;
    int ended = 0;
    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    if (started && !ended) MPI_Abort(MPI_COMM_WORLD, exit_status);
    std::_Exit(exit_status);
}

}  // namespace bliss::comm
