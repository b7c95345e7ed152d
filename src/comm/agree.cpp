#include "bliss/comm/agree.hpp"

#include "bliss/core/error.hpp"

#include <algorithm>
#include <new>
#include <string>

namespace bliss::comm {

namespace {

/// Classes of error that keep their class on the way between ranks: main's exit status depends on it.
enum class Kind : std::int32_t { other, config, data, fits, h5, mpi, io };

struct Failure {
    Kind kind = Kind::other;
    std::string message;
};

Failure describe(const std::exception_ptr& failure) {
    try {
        std::rethrow_exception(failure);
    } catch (const ConfigError& error) {
        return {Kind::config, error.what()};
    } catch (const FitsError& error) {
        return {Kind::fits, error.what()};
    } catch (const DataError& error) {
        return {Kind::data, error.what()};
    } catch (const H5Error& error) {
        return {Kind::h5, error.what()};
    } catch (const MpiError& error) {
        return {Kind::mpi, error.what()};
    } catch (const IoError& error) {
        return {Kind::io, error.what()};
    } catch (const std::bad_alloc&) {
        return {Kind::other, "out of memory"};
    } catch (const std::exception& error) {
        return {Kind::other, error.what()};
    } catch (...) {
        return {Kind::other, "unknown failure"};
    }
}

template <class Thrown>
[[noreturn]] void raise_as(const Failure& failure, int ranks) {
    Thrown error{failure.message};
    error.set_ranks(ranks);
    throw error;
}

[[noreturn]] void raise(const Failure& failure, int ranks) {
    switch (failure.kind) {
        case Kind::config: raise_as<ConfigError>(failure, ranks);
        case Kind::data: raise_as<DataError>(failure, ranks);
        case Kind::fits: raise_as<FitsError>(failure, ranks);
        case Kind::h5: raise_as<H5Error>(failure, ranks);
        case Kind::mpi: raise_as<MpiError>(failure, ranks);
        case Kind::io: raise_as<IoError>(failure, ranks);
        case Kind::other: break;
    }
    raise_as<Error>(failure, ranks);
}

}  // namespace

void agree(const Communicator& comm, std::exception_ptr failure) {
    const auto failing = static_cast<int>(comm.all_reduce_min(std::int64_t{failure ? comm.rank() : comm.size()}));
    if (failing == comm.size()) return;

    Failure common;
    if (comm.rank() == failing) {
        common = describe(failure);
        std::ranges::replace(common.message, '\n', ' ');
        if (comm.size() > 1 && !common.message.starts_with("rank "))
            common.message = "rank " + std::to_string(failing) + ": " + common.message;
    }
    comm.broadcast(common.kind, failing);
    comm.broadcast(common.message, failing);
    raise(common, comm.size());
}

}  // namespace bliss::comm
