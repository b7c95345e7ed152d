#pragma once

#include "bliss/catalog/schema.hpp"

#include <span>
#include <vector>

namespace bliss::catalog {

/// HEALPix order of the sky index: pixels of 6.9 arcmin, some hundred rows of a deep field each.
inline constexpr int k_sky_order = 9;

/// Rows of /catalog that follow each other and lie in one HEALPix pixel. /sky holds them all, by pixel, then by row.
#pragma pack(push, 1)
struct SkyRow {
    std::int64_t pixel;  ///< NESTED, of order k_sky_order, equatorial
    std::int64_t first_source;
    std::int64_t source_count;
};
#pragma pack(pop)

[[nodiscard]] std::span<const h5::Member> sky_members();

/// Orders a field's rows by HEALPix pixel; within a pixel they stay as they were.
void sort_by_sky(std::vector<SourceRow>& rows);

/// Appends the runs of rows in one pixel. Rows without a place on the sky are in none.
/// @param first_source where the rows stand in /catalog
void append_runs(std::span<const SourceRow> rows, std::int64_t first_source, std::vector<SkyRow>& runs);

}  // namespace bliss::catalog
