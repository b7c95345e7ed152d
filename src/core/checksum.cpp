#include "bliss/core/checksum.hpp"

#include <xxhash.h>

#include <new>

namespace bliss {
namespace {

XXH3_state_t* of(const std::unique_ptr<void, void (*)(void*)>& state) { return static_cast<XXH3_state_t*>(state.get()); }

}  // namespace

std::uint64_t checksum(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Checksum::Checksum()
    : state_{XXH3_createState(), [](void* state) { XXH3_freeState(static_cast<XXH3_state_t*>(state)); }} {
    if (!state_) throw std::bad_alloc{};
    XXH3_64bits_reset(of(state_));
}

void Checksum::add(std::span<const std::byte> bytes) { XXH3_64bits_update(of(state_), bytes.data(), bytes.size()); }

std::uint64_t Checksum::value() const { return XXH3_64bits_digest(of(state_)); }

}  // namespace bliss
