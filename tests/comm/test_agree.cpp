#include "bliss/comm/agree.hpp"

#include "bliss/core/error.hpp"

#include <catch2/catch_test_macros.hpp>

#include <stdexcept>
#include <string>

using bliss::comm::agree_on;
using bliss::comm::Communicator;

namespace {

/// Class name and message of what `agree_on` throws; empty when it throws nothing.
template <class Work>
std::pair<std::string, std::string> outcome(const Communicator& comm, Work&& work) {
    try {
        agree_on(comm, work);
    } catch (const bliss::ConfigError& error) {
        CHECK(error.ranks() == comm.size());
        return {"ConfigError", error.what()};
    } catch (const bliss::FitsError& error) {
        CHECK(error.ranks() == comm.size());
        return {"FitsError", error.what()};
    } catch (const bliss::Error& error) {
        CHECK(error.ranks() == comm.size());
        return {"Error", error.what()};
    }
    return {};
}

std::string with_rank(const Communicator& comm, int rank, const std::string& message) {
    return comm.size() == 1 ? message : "rank " + std::to_string(rank) + ": " + message;
}

}  // namespace

TEST_CASE("nothing is thrown where no rank fails") {
    const auto comm = Communicator::world();
    int done = 0;
    CHECK(outcome(comm, [&] { ++done; }).first.empty());
    CHECK(done == 1);
}

TEST_CASE("one rank's failure reaches every rank with its class and rank, on one line") {
    const auto comm = Communicator::world();
    const int failing = comm.size() > 1 ? 1 : 0;
    const auto [kind, message] = outcome(comm, [&] {
        if (comm.rank() == failing) throw bliss::FitsError("a.fits[2]: truncated\ncopy it again");
    });
    CHECK(kind == "FitsError");
    CHECK(message == with_rank(comm, failing, "a.fits[2]: truncated copy it again"));
    // Nobody hangs: the next collective works on all ranks.
    CHECK(comm.all_reduce_sum(std::int64_t{1}) == comm.size());
}

TEST_CASE("of several failures the lowest rank's is told") {
    const auto comm = Communicator::world();
    const int lowest = comm.size() / 2;
    const auto [kind, message] = outcome(comm, [&] {
        if (comm.rank() == lowest) throw bliss::ConfigError("lowest");
        if (comm.rank() > lowest) throw std::runtime_error("higher");
    });
    CHECK(kind == "ConfigError");
    CHECK(message == with_rank(comm, lowest, "lowest"));
}

TEST_CASE("a failure that was agreed on before keeps the rank it came from") {
    const auto comm = Communicator::world();
    const int last = comm.size() - 1;
    const auto [kind, message] = outcome(comm, [&] {
        if (comm.rank() == last) throw std::runtime_error("first");
    });
    const auto again = outcome(comm, [&] { throw bliss::Error(message); });
    CHECK(again.second == with_rank(comm, last, "first"));
}
