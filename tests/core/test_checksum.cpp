#include "bliss/core/checksum.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>
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

TEST_CASE("pieces of whole words give what they give together") {
    std::vector<std::byte> bytes(100, std::byte{7});
    bytes[50] = std::byte{1};
    for (const std::size_t cut : {0, 8, 48, 96}) {
        CHECK(checksum(std::span<const std::byte>{bytes}.subspan(cut), checksum(std::span<const std::byte>{bytes}.first(cut))) ==
              checksum(bytes));
    }
}

TEST_CASE("bytes that are fewer than a word have the checksum of FNV-1a") {
    const std::string text = "foobar";  // of the algorithm's published test values
    CHECK(checksum({}) == 0xcbf29ce484222325u);
    CHECK(checksum(std::as_bytes(std::span{text}.first(1))) == 0xaf63db4c8601ead9u);
    CHECK(checksum(std::as_bytes(std::span{text})) == 0x85944171f73967e8u);
}
