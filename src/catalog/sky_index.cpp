#include "bliss/catalog/sky_index.hpp"

#include "bliss/survey/healpix.hpp"

#include <algorithm>
#include <cstddef>

namespace bliss::catalog {
namespace {

using Type = Member::Type;

constexpr Member k_sky_members[] = {
    {"pixel", Type::i64, offsetof(SkyRow, pixel), 1, "", "HEALPix pixel of order 9, NESTED, equatorial (ICRS)"},
    {"first_source", Type::i64, offsetof(SkyRow, first_source), 1, "", "first of consecutive rows in /catalog that lie in it"},
    {"source_count", Type::i64, offsetof(SkyRow, source_count), 1, "", "how many"},
};
static_assert(k_sky_order == 9, "the text above says so");

std::int64_t pixel_of(const SourceRow& row) { return survey::healpix_pixel(k_sky_order, {row.ra_deg, row.dec_deg}); }

}  // namespace

std::span<const Member> sky_members() { return k_sky_members; }

void sort_by_sky(std::vector<SourceRow>& rows) {
    std::vector<std::pair<std::int64_t, std::size_t>> order;
    for (std::size_t k = 0; k < rows.size(); ++k) order.emplace_back(pixel_of(rows[k]), k);
    std::ranges::sort(order);
    std::vector<SourceRow> sorted;
    sorted.reserve(rows.size());
    for (const auto& [pixel, k] : order) sorted.push_back(rows[k]);
    rows = std::move(sorted);
}

void append_runs(std::span<const SourceRow> rows, std::int64_t first_source, std::vector<SkyRow>& runs) {
    std::int64_t last = -1;
    for (std::size_t k = 0; k < rows.size(); ++k) {
        const std::int64_t pixel = pixel_of(rows[k]);
        if (pixel >= 0) {
            if (pixel != last) runs.push_back({pixel, first_source + static_cast<std::int64_t>(k), 0});
            ++runs.back().source_count;
        }
        last = pixel;
    }
}

}  // namespace bliss::catalog
