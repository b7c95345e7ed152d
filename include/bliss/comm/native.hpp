#pragma once

#include "bliss/comm/communicator.hpp"

#include <mpi.h>

namespace bliss::comm {

/// The MPI communicator inside, still owned by `communicator`: for libraries that take one (parallel HDF5, NCCL).
[[nodiscard]] MPI_Comm native(const Communicator& communicator);

}  // namespace bliss::comm
