#pragma once

#include "bliss/comm/communicator.hpp"

#include <exception>
#include <utility>

namespace bliss::comm {

/// Before a collective operation, all ranks learn whether any of them has failed. Where none has, returns. Otherwise every
/// rank throws the same error, of the lowest failing rank: its class (ConfigError, DataError, ...) and its message on one
/// line, led by "rank N: " where there are several. So nobody waits for a rank that has given up.
/// @collective
void agree(const Communicator& comm, std::exception_ptr failure);

/// Does `work` on every rank, then agrees: throws on all ranks when it threw on any. If `work` communicates, then
/// only by calls that return on every rank even when they fail on one.
/// @collective
template <class Work>
void agree_on(const Communicator& comm, Work&& work) {
    std::exception_ptr failure;
    try {
        std::forward<Work>(work)();
    } catch (...) {
        failure = std::current_exception();
    }
    agree(comm, failure);
}

}  // namespace bliss::comm
