#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace bliss {

/// A checksum of 64 bits that tells what a disk has damaged: XXH3, at the speed of memory. The same on every machine.
[[nodiscard]] std::uint64_t checksum(std::span<const std::byte> bytes);

/// The same of bytes that come in pieces.
class Checksum {
public:
    Checksum();
    void add(std::span<const std::byte> bytes);
    [[nodiscard]] std::uint64_t value() const;

private:
    std::unique_ptr<void, void (*)(void*)> state_;
};

}  // namespace bliss
