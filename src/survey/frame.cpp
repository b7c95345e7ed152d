#include "bliss/survey/frame.hpp"

#include "bliss/core/check.hpp"
#include "bliss/core/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

namespace bliss::survey {
namespace {

[[noreturn]] void refuse(const Frame& frame, const std::string& problem) {
    throw DataError(fmt::format("{} (field {}, band {}): {}", frame.source, to_string(frame.id), frame.band, problem));
}

template <class T>
void check_shape(const Frame& frame, const Image<T>& image, std::string_view what) {
    if (image.height() != frame.height() || image.width() != frame.width()) {
        refuse(frame, fmt::format("the {} has shape [{}, {}], the image [{}, {}]; use files of the same frame", what,
                                  image.height(), image.width(), frame.height(), frame.width()));
    }
}

}  // namespace

void check_frame(const Frame& frame) {
    if (frame.electrons.size() == 0) refuse(frame, "the image has no pixel; fetch the file again");
    check_shape(frame, frame.background_e, "background");
    check_shape(frame, frame.valid, "validity mask");
    if (static_cast<std::int64_t>(frame.electrons_per_nmgy.size()) != frame.width()) {
        refuse(frame, fmt::format("the calibration has {} columns, the image {}; use files of the same frame",
                                  frame.electrons_per_nmgy.size(), frame.width()));
    }
    for (const float factor : frame.electrons_per_nmgy) {
        if (!(std::isfinite(factor) && factor > 0)) {
            refuse(frame,
                   fmt::format("a calibration of {} electrons per nanomaggy; it must be positive and finite", factor));
        }
    }
    std::int64_t valid = 0;
    for (std::int64_t row = 0; row < frame.height(); ++row) {
        for (std::int64_t col = 0; col < frame.width(); ++col) {
            if (const float sky = frame.background_e(row, col); !(std::isfinite(sky) && sky > 0)) {
                refuse(frame,
                       fmt::format("the background is {} electrons at row {}, column {}; it must be positive, for it is "
                                   "the noise variance of an empty pixel (check gain, sky and background mode)",
                                   sky, row, col));
            }
            if (frame.valid(row, col) == 0) continue;
            ++valid;
            if (!std::isfinite(frame.electrons(row, col))) {
                refuse(frame, fmt::format("the pixel at row {}, column {} is marked valid but is {}; a reader must mask it",
                                          row, col, frame.electrons(row, col)));
            }
        }
    }
    if (valid == 0) refuse(frame, "no pixel is valid (all are NaN or masked); leave this frame out");
}

void mask_blank_pixels(Frame& frame) {
    constexpr float k_sigmas = 50;
    for (std::int64_t k = 0; k < frame.electrons.size(); ++k) {
        float& pixel = frame.electrons.data()[k];
        const float background = frame.background_e.data()[k];
        if (pixel >= background - k_sigmas * std::sqrt(background) && std::isfinite(pixel)) continue;
        pixel = background;
        frame.valid.data()[k] = 0;
    }
}

double median_background_e(const Frame& frame) {
    const std::int64_t pixels = frame.background_e.size();
    const float* const values = frame.background_e.data();
    const std::uint8_t* const valid = frame.valid.data();
    // Positive numbers are ordered as their bits are: counted by the upper half of these, then by the lower half of those in the middle.
    constexpr std::size_t k_halves = 1 << 16;
    std::vector<std::uint32_t> by_upper(k_halves), by_lower(k_halves);
    std::int64_t count = 0;
    for (std::int64_t k = 0; k < pixels; ++k) {
        if (!valid[k]) continue;
        BLISS_EXPECT(values[k] > 0, "the background is positive");
        ++by_upper[std::bit_cast<std::uint32_t>(values[k]) >> 16];
        ++count;
    }
    if (count == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto place_of = [](const std::vector<std::uint32_t>& counts, std::int64_t rank) {  // and the rank within
        std::size_t place = 0;
        while (rank >= counts[place]) rank -= counts[place++];
        return std::pair{static_cast<std::uint32_t>(place), rank};
    };
    const auto value_of = [&](std::int64_t rank) {
        const auto [upper, rank_within] = place_of(by_upper, rank);
        std::ranges::fill(by_lower, 0);
        for (std::int64_t k = 0; k < pixels; ++k) {
            const auto bits = std::bit_cast<std::uint32_t>(values[k]);
            if (bits >> 16 == upper && valid[k]) ++by_lower[bits & (k_halves - 1)];
        }
        return static_cast<double>(std::bit_cast<float>(upper << 16 | place_of(by_lower, rank_within).first));
    };
    const double above = value_of(count / 2);
    return count % 2 == 1 ? above : 0.5 * (value_of(count / 2 - 1) + above);
}

double valid_share(const Frame& frame) {
    const auto pixels = frame.valid.pixels();
    if (pixels.empty()) return 0;
    const auto valid = std::count_if(pixels.begin(), pixels.end(), [](std::uint8_t v) { return v != 0; });
    return static_cast<double>(valid) / static_cast<double>(pixels.size());
}

}  // namespace bliss::survey
