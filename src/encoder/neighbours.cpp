#include "bliss/encoder/neighbours.hpp"

#include "bliss/encoder/settings.hpp"

#include <algorithm>

namespace bliss::encoder {
namespace {

/// Calls `visit(row, col, place)` for the tiles of the image around one that are of an earlier turn; `place` counts the tiles around
/// it, row by row.
template <class Visit>
void for_each_told(const DrawnTiles& drawn, std::int64_t row, std::int64_t col, std::int64_t reach, const Visit& visit) {
    const std::int64_t turn = colour_of(row, col);
    std::int64_t place = 0;
    for (std::int64_t r = row - reach; r <= row + reach; ++r) {
        for (std::int64_t c = col - reach; c <= col + reach; ++c) {
            if (r == row && c == col) continue;
            if (r >= 0 && c >= 0 && r < drawn.rows() && c < drawn.cols() && colour_of(r, c) < turn) visit(r, c, place);
            ++place;
        }
    }
}

}  // namespace

void DrawnTiles::set(std::int64_t row, std::int64_t col, std::span<const DrawnSource> sources) {
    count_[at(row, col)] = static_cast<std::uint8_t>(sources.size());
    const auto first = sources_.begin() + static_cast<std::ptrdiff_t>(at(row, col) * static_cast<std::size_t>(max_sources_));
    const auto last = std::ranges::copy(sources, first).out;
    std::stable_sort(first, last, [](const DrawnSource& a, const DrawnSource& b) { return a.ln_flux_above_noise > b.ln_flux_above_noise; });
}

void write_context(const DrawnTiles& drawn, std::int64_t row, std::int64_t col, std::int64_t reach, std::int64_t max_sources, float* out) {
    std::fill_n(out, context_length(reach, max_sources), 0.0f);
    for_each_told(drawn, row, col, reach, [&](std::int64_t r, std::int64_t c, std::int64_t place) {
        float* at = out + place * (1 + 4 * max_sources);
        *at++ = 1;
        for (const DrawnSource& source : drawn.sources(r, c)) {
            *at++ = 1;
            *at++ = source.u - 0.5f;
            *at++ = source.v - 0.5f;
            *at++ = static_cast<float>(scaled_ln_flux(source.ln_flux_above_noise));
        }
    });
}

}  // namespace bliss::encoder
