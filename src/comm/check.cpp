#include "check.hpp"

#include "bliss/core/error.hpp"

#include <string>

namespace bliss::comm::detail {

void check(int code, const char* operation) {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
    throw MpiError(std::string{operation} +
                   " failed: " + (length > 0 ? std::string(text, static_cast<std::size_t>(length)) : "unknown MPI error"));
}

}  // namespace bliss::comm::detail
