#pragma once

#include <string>

namespace bliss::comm {

/// The MPI library's life in this process: one object, in main, before anything communicates.
/// Runs alone too (without mpirun it is one rank). Asks for MPI_THREAD_MULTIPLE: any thread may call MPI at any time.
class Environment {
public:
    /// Starts MPI. @throws MpiError when it cannot start or grants less thread support.
    Environment();

    /// Ends MPI, unless an exception is on its way: other ranks may then be inside a collective, and ending would hang.
    /// main is then to call `abort_all_ranks`.
    ~Environment();

    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

private:
    int exceptions_at_start_;
};

/// Name and version of the MPI library, "Open MPI v4.1.4".
[[nodiscard]] std::string library_version();

/// Ends all ranks of the run at once with the exit status given; safe before MPI starts and after it ends.
[[noreturn]] void abort_all_ranks(int exit_status);

}  // namespace bliss::comm
