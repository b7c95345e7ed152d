#include "bliss/core/checksum.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <vector>

using namespace bliss;

TEST_CASE("a checksum sees every changed bit, and every missing byte") {
    RandomStream random{1, StreamPurpose::catalog, 0, 0};
    std::vector<std::byte> bytes(203);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(256 * random.uniform());
    std::set<std::uint64_t> seen{checksum(bytes)};
    for (std::size_t k = 0; k < bytes.size(); ++k) {
        for (int bit = 0; bit < 8; ++bit) {
            bytes[k] ^= static_cast<std::byte>(1 << bit);
            CHECK(seen.insert(checksum(bytes)).second);
            bytes[k] ^= static_cast<std::byte>(1 << bit);
        }
    }
    const std::vector<std::byte> zeros(100);
    for (std::size_t size = 0; size < zeros.size(); ++size) CHECK(seen.insert(checksum(std::span{zeros}.first(size))).second);
}

TEST_CASE("pieces give what they give together") {
    std::vector<std::byte> bytes(1000, std::byte{7});
    bytes[50] = std::byte{1};
    for (const std::size_t cut : {0, 1, 50, 333, 1000}) {
        Checksum whole;
        whole.add(std::span{bytes}.first(cut));
        whole.add(std::span{bytes}.subspan(cut));
        CHECK(whole.value() == checksum(bytes));
    }
}

TEST_CASE("the checksum is XXH3") {
    CHECK(checksum({}) == 0x2D06800538D394C2u);  // of its specification: nothing, seed 0
}
