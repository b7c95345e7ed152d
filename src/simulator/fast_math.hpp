#pragma once

#include <Kokkos_Macros.hpp>

#include <cstdint>

namespace bliss::simulator {

/// exp(x), relative error below 2e-7 + 3e-8 |x|; x is cut to [-87, 87]. Branch-free, so that loops vectorise.
KOKKOS_INLINE_FUNCTION float fast_exp(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    const float scaled = x * 1.44269504f;
    constexpr float k_rounds = 12582912;  // 1.5 * 2^23: adding it leaves no bits below 1
    const float whole = (scaled + k_rounds) - k_rounds;
    const float t = (scaled - whole) * 0.693147181f;
    float p = 1.0f / 5040;
    p = p * t + 1.0f / 720;
    p = p * t + 1.0f / 120;
    p = p * t + 1.0f / 24;
    p = p * t + 1.0f / 6;
    p = p * t + 0.5f;
    p = p * t + 1.0f;
    p = p * t + 1.0f;
    const auto exponent = static_cast<std::uint32_t>(static_cast<int>(whole) + 127) << 23;
    return p * __builtin_bit_cast(float, exponent);  // std::bit_cast is no function of a GPU's
}

/// tanh(x), absolute error below 3e-7.
KOKKOS_INLINE_FUNCTION float fast_tanh(float x) { return 1 - 2 / (fast_exp(2 * x) + 1); }

/// x / (1 + exp(-x)).
KOKKOS_INLINE_FUNCTION float fast_silu(float x) { return x / (1 + fast_exp(-x)); }

}  // namespace bliss::simulator
