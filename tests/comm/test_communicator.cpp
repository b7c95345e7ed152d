#include "bliss/comm/communicator.hpp"

#include "bliss/comm/pending_sum.hpp"
#include "bliss/core/error.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <numeric>
#include <stdexcept>

using bliss::comm::Communicator;

namespace {

/// Rank r holds r + 1 elements 100 r, 100 r + 1, ...: parts of unequal length.
std::vector<int> part_of(int rank) {
    std::vector<int> part(static_cast<std::size_t>(rank) + 1);
    std::iota(part.begin(), part.end(), 100 * rank);
    return part;
}

std::vector<int> all_parts(int ranks) {
    std::vector<int> all;
    for (int rank = 0; rank < ranks; ++rank)
        for (const int value : part_of(rank)) all.push_back(value);
    return all;
}

}  // namespace

TEST_CASE("reductions give the closed form of 0 + 1 + ... and its ends") {
    const auto comm = Communicator::world();
    const std::int64_t ranks = comm.size();
    const std::int64_t sum = ranks * (ranks - 1) / 2;
    CHECK(comm.all_reduce_sum(std::int64_t{comm.rank()}) == sum);
    CHECK(comm.all_reduce_max(std::int64_t{comm.rank()}) == ranks - 1);
    CHECK(comm.all_reduce_min(std::int64_t{comm.rank()} + 5) == 5);
    CHECK(comm.all_reduce_max(0.5 * comm.rank()) == 0.5 * static_cast<double>(ranks - 1));
    CHECK(comm.all_reduce_min(-0.5 * comm.rank()) == -0.5 * static_cast<double>(ranks - 1));
    CHECK(comm.exclusive_scan_sum(comm.rank() + 1) == std::int64_t{comm.rank()} * (comm.rank() + 1) / 2);
}

TEST_CASE("in-place sums are the same cut into pieces or not") {
    auto comm = Communicator::world();
    for (const std::int64_t piece_bytes : {std::int64_t{1} << 30, std::int64_t{24}}) {
        comm.set_piece_bytes(piece_bytes);
        std::vector<double> values(10);
        std::vector<float> singles(10);
        std::vector<std::int64_t> whole(10);
        for (int i = 0; i < 10; ++i) values[i] = singles[i] = static_cast<float>(whole[i] = i + comm.rank());
        comm.all_reduce_sum(std::span{values});
        comm.all_reduce_sum(std::span{singles});
        comm.all_reduce_sum(std::span{whole});
        for (int i = 0; i < 10; ++i) {
            const int expected = i * comm.size() + comm.size() * (comm.size() - 1) / 2;
            CHECK(values[i] == expected);
            CHECK(singles[i] == static_cast<float>(expected));
            CHECK(whole[i] == expected);
        }
    }
}

TEST_CASE("a broadcast gives the root's value, text and vector to all") {
    auto comm = Communicator::world();
    const int root = comm.size() - 1;
    for (const std::int64_t piece_bytes : {std::int64_t{1} << 30, std::int64_t{7}}) {
        comm.set_piece_bytes(piece_bytes);
        double value = comm.rank() == root ? 2.5 : 0;
        std::string text = comm.rank() == root ? "the root's longer text" : "other";
        std::vector<int> values = comm.rank() == root ? part_of(9) : std::vector<int>{};
        comm.broadcast(value, root);
        comm.broadcast(text, root);
        comm.broadcast(values, root);
        CHECK(value == 2.5);
        CHECK(text == "the root's longer text");
        CHECK(values == part_of(9));
        std::string empty = comm.rank() == root ? "" : "not empty";
        comm.broadcast(empty, root);
        CHECK(empty.empty());
    }
}

TEST_CASE("gathers join unequal parts in rank order, in one call and in pieces") {
    auto comm = Communicator::world();
    const int last = comm.size() - 1;
    for (const std::int64_t piece_bytes : {std::int64_t{1} << 30, std::int64_t{6}}) {
        comm.set_piece_bytes(piece_bytes);
        CHECK(comm.gather_v(part_of(comm.rank())) == all_parts(comm.size()));
        CHECK(comm.gather_v(part_of(comm.rank()), last) == (comm.rank() == last ? all_parts(comm.size()) : std::vector<int>{}));
        const std::vector<int> ranks = comm.all_gather(comm.rank());
        for (int rank = 0; rank < comm.size(); ++rank) CHECK(ranks.at(static_cast<std::size_t>(rank)) == rank);
        CHECK(comm.gather_v(std::vector<int>{}).empty());
    }
}

TEST_CASE("a split groups by colour and orders by key") {
    const auto comm = Communicator::world();
    const auto half = comm.split(comm.rank() % 2, -comm.rank());
    const int members = (comm.size() + 1 - comm.rank() % 2) / 2;
    CHECK(half.size() == members);
    CHECK(half.rank() == members - 1 - comm.rank() / 2);
    const auto seen = half.all_gather(comm.rank());
    for (const int rank : seen) CHECK(rank % 2 == comm.rank() % 2);
    const Communicator node = comm.node();
    CHECK(node.rank() == comm.rank());  // all test ranks run on one machine
    CHECK(node.size() == comm.size());
    CHECK(Communicator::self().size() == 1);
}

TEST_CASE("messages reach the rank they are for, and polling sees them") {
    const auto comm = Communicator::world();
    constexpr int k_tag = 3;
    CHECK_FALSE(comm.poll(k_tag).has_value());
    comm.barrier();
    if (comm.rank() != 0) {
        comm.send(10.5 * comm.rank(), 0, k_tag);
    } else {
        for (int waiting = comm.size() - 1; waiting > 0;) {
            if (const auto from = comm.poll(k_tag)) {
                CHECK(comm.receive<double>(*from, k_tag) == 10.5 * *from);
                --waiting;
            }
        }
    }
    comm.barrier();
}

TEST_CASE("two communicators over the same ranks do not see each other's messages") {
    const auto comm = Communicator::world();
    const auto other = comm.duplicate();
    if (comm.rank() == comm.size() - 1) {
        other.send(7, 0, 1);
    }
    if (comm.rank() == 0) {
        while (!other.poll(1)) {
        }
        CHECK_FALSE(comm.poll(1).has_value());
        CHECK(other.receive<int>(comm.size() - 1, 1) == 7);
    }
    comm.barrier();
}

TEST_CASE("sums go on while a rank does other things, several at once, each with what belongs to it") {
    const auto comm = Communicator::world();
    constexpr std::size_t k_sums = 3;
    std::vector<std::vector<std::int64_t>> values(k_sums);
    std::vector<std::unique_ptr<bliss::comm::PendingSum>> sums;
    for (std::size_t k = 0; k < k_sums; ++k) {
        values[k].assign(100000, static_cast<std::int64_t>(k + 1) << 40);
        values[k].front() = comm.rank();
        sums.push_back(std::make_unique<bliss::comm::PendingSum>(comm, values[k]));
    }
    const auto other = comm.duplicate();
    CHECK(other.all_reduce_sum(std::int64_t{1}) == comm.size());
    for (std::size_t k = 0; k < k_sums; ++k) {
        CHECK(sums[k]->wait() >= 0);
        CHECK(values[k].front() == comm.size() * (comm.size() - 1) / 2);
        CHECK(values[k].back() == comm.size() * (static_cast<std::int64_t>(k + 1) << 40));
        CHECK((comm.size() == 1 || sums[k]->took_s() > 0));
    }
}

TEST_CASE("a failing call throws with the operation and MPI's text instead of ending the program") {
    const auto comm = Communicator::world();
    CHECK_THROWS_MATCHES(
        comm.send(1, comm.size() + 5, 0), bliss::MpiError,
        Catch::Matchers::MessageMatches(Catch::Matchers::StartsWith("MPI_Send failed: ") && Catch::Matchers::ContainsSubstring("rank")));
    const auto part = comm.split(0, 0);
    CHECK_THROWS_AS(part.send(1, part.size() + 5, 0), bliss::MpiError);
}

TEST_CASE("a communicator on the stack of a throwing rank does not hang the others") {
    const auto comm = Communicator::world();
    bool caught = false;
    if (comm.rank() == comm.size() - 1) {
        auto own = std::make_unique<Communicator>(comm.duplicate());
        try {
            const Communicator doomed = std::move(*own);
            throw std::runtime_error("on one rank only");
        } catch (const std::runtime_error&) {
            caught = true;
        }
        comm.barrier();
    } else {
        const auto alive = comm.duplicate();
        comm.barrier();
    }
    CHECK(caught == (comm.rank() == comm.size() - 1));
}
