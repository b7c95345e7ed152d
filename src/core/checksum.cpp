#include "bliss/core/checksum.hpp"

#include <cstring>

namespace bliss {

std::uint64_t checksum(std::span<const std::byte> bytes, std::uint64_t before) {
    constexpr std::uint64_t k_prime = 0x100000001b3u;
    std::uint64_t hash = before, word = 0;
    for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
        std::memcpy(&word, bytes.data(), sizeof word);
        hash = (hash ^ word) * k_prime;
        hash ^= hash >> 32;
    }
    for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * k_prime;
    return hash;
}

}  // namespace bliss
