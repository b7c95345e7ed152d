#pragma once

#include <mpi.h>

namespace bliss::comm::detail {

/// @throws MpiError with the operation and MPI's text when `code` is not MPI_SUCCESS.
void check(int code, const char* operation);

}  // namespace bliss::comm::detail
