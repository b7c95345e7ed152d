#pragma once

#include "bliss/h5/member.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bliss::catalog {

/// Version of the file layout below; raised whenever a member or its meaning changes.
inline constexpr std::int64_t k_schema_version = 5;

/// Bits of `flags`.
enum Flag : std::uint32_t {
    k_flag_masked_pixels = 1u << 0,  ///< a pixel within 3 px of the source is not valid
    k_flag_frame_edge = 1u << 1,     ///< within 24 px of the frame's edge: part of the receptive field is off the frame
    k_flag_merged_tiles = 1u << 2,   ///< the source's posterior is spread over several tiles and was joined
    k_flag_multiple = 1u << 3,       ///< its tile holds more than one source in the mode
    k_flag_mode = 1u << 4,           ///< in the mode catalogue: p_source is at least the run's threshold
    k_flag_masked_centre = 1u << 5,  ///< the pixel at its place is not valid
    k_flag_above_prior = 1u << 6,    ///< brighter than any source of the model's prior; star fields: or at its bright end
    k_flag_poor_fit = 1u << 7,       ///< the posterior does not explain its pixels: p_fit below 0.001
    k_flag_surroundings = 1u << 8,   ///< nor the light within 12 px of it: surroundings_sigma beyond 5; a trail, a ghost, a halo
};

/// Bits of `prior_flags`.
enum PriorFlag : std::uint32_t {
    k_prior_rate_outside = 1u << 0,  ///< the source rate is outside the model's training range
    k_prior_far = 1u << 1,           ///< types or fluxes weigh more than ten times what they did in training, or less than a tenth
    k_density_outside = 1u << 2,     ///< the density of sources that was found is outside the model's training range
};

inline constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();

/// One candidate source of one field: the mode of its posterior and what is uncertain about it.
/// Packed: the memory layout is the file layout, as collective HDF5 writing needs it.
#pragma pack(push, 1)
struct SourceRow {
    std::int64_t field_index;  ///< row of /fields
    std::int32_t run;
    std::int32_t camcol;
    std::int32_t field;
    std::int32_t tile_row;
    std::int32_t tile_col;
    std::int32_t slot;  ///< which slot of the tile's posterior, 0 is filled first
    double x_px;        ///< column, 0 = centre of the first pixel; posterior median, as the other numbers below
    double y_px;        ///< row
    double x_err_px;    ///< half the central 68.3 % interval (a Normal's standard deviation), as the other errors below
    double y_err_px;
    double x_low_px;    ///< 5 % and 95 % quantiles
    double x_high_px;
    double y_low_px;
    double y_high_px;
    double ra_deg;  ///< ICRS; NaN without a WCS
    double dec_deg;
    double p_source;        ///< probability that there is a source
    double p_star;          ///< probability that it is a star, given that it is a source
    double flux_nmgy;       ///< total flux
    double flux_err_nmgy;
    double ln_flux_e;       ///< ln(flux / electron)
    double ln_flux_e_err;
    double ln_flux_e_low;   ///< 5 % and 95 % quantiles
    double ln_flux_e_high;
    double mag;
    double mag_err;
    double half_light_radius_px;  ///< of a galaxy, above the atmosphere, circularised; these and the next nine: given that it is a
                                  ///< galaxy; NaN by models without galaxy shapes
    double half_light_radius_err_px;
    double half_light_radius_low_px;
    double half_light_radius_high_px;
    double axis_ratio;            ///< minor / major
    double axis_ratio_err;
    double axis_ratio_low;
    double axis_ratio_high;
    double angle_deg;             ///< of the major axis, from +x (columns) towards +y (rows), 0 ... 180
    double angle_err_deg;
    double p_fit;                 ///< posterior predictive p-value of the pixels within one FWHM of the PSF; NaN with fewer than 8 draws
    double surroundings_sigma;  ///< light within 12 px that the posterior does not expect, in predictive standard deviations; NaN likewise
    std::uint32_t flags;
    std::int32_t primary;  ///< 1: this field owns its place (ownership.hpp); 0: another one that overlaps it
};

/// One source of one joint draw from a field's posterior.
struct SampleRow {
    std::int64_t field_index;  ///< row of /fields
    std::int32_t sample;       ///< which draw, 0 ... K - 1
    std::int32_t is_star;      ///< 1 star, 0 galaxy
    double x_px;               ///< column, 0 = centre of the first pixel
    double y_px;               ///< row
    double ra_deg;             ///< ICRS; NaN without a WCS
    double dec_deg;
    double flux_nmgy;          ///< total flux
    double ln_flux_e;          ///< ln(flux / electron)
    double half_light_radius_px;  ///< of galaxies, above the atmosphere, circularised; NaN for stars, as the next two
    double axis_ratio;            ///< minor / major
    double angle_deg;             ///< of the major axis, from +x (columns) towards +y (rows), 0 ... 180
    std::int32_t primary;         ///< 1: this field owns its place
};

/// What is kept of a tile's posterior over its count: P(0), P(1), P(2), and that of 3 or more.
inline constexpr std::size_t k_tile_counts = 4;

/// One of the model's tiles, where asked for: how many sources it holds, given the mode of the tiles of earlier turns.
struct TileRow {
    std::int64_t field_index;  ///< row of /fields
    std::int32_t tile_row;
    std::int32_t tile_col;
    float p_count[k_tile_counts];
};

/// One field of the run. What is not known of a failed field is NaN.
struct FieldRow {
    std::int32_t run;
    std::int32_t camcol;
    std::int32_t field;
    std::int32_t status;  ///< 0 done, 1 failed (see reason)
    char band[8];
    std::int64_t height_px;
    std::int64_t width_px;
    std::int64_t first_source;  ///< first row in /catalog
    std::int64_t source_count;  ///< rows in /catalog
    std::int64_t first_sample;  ///< first row in /samples
    std::int64_t sample_count;  ///< rows in /samples, over all draws
    std::int64_t first_tile;    ///< first row in /tiles
    std::int64_t tile_count;    ///< rows in /tiles
    double expected_sources;    ///< under the posterior, in the tiles asked (decision 21); star fields: on all of the frame
    double ra_deg = k_nan;      ///< of the frame's centre
    double dec_deg = k_nan;
    double corner_ra_deg[4] = {k_nan, k_nan, k_nan, k_nan};  ///< (0,0), (0,W-1), (H-1,W-1), (H-1,0)
    double corner_dec_deg[4] = {k_nan, k_nan, k_nan, k_nan};
    double psf_fwhm_px = k_nan;
    double background_e = k_nan;        ///< median of valid pixels, detector variance included: the noise variance of empty sky
    double electrons_per_nmgy = k_nan;  ///< median
    double valid_share;
    double sources_per_tile = k_nan;    ///< the prior the field was catalogued under, of sources above the model's limit: source
                                        ///< rate per 4x4-pixel tile,
    double star_fraction = k_nan;       ///< share of stars,
    double star_alpha = k_nan;          ///< and Pareto exponents of fluxes
    double galaxy_alpha = k_nan;
    double p_fit = k_nan;  ///< posterior predictive p-value of all valid pixels; NaN with fewer than 8 joint draws, as the next two
    double chi2_per_px = k_nan;         ///< mean squared residual, in predictive standard deviations
    double unexplained_share = k_nan;   ///< of 4x4-pixel cells, those with light 5 or more standard deviations from what is expected
    std::uint32_t prior_flags;          ///< bits of PriorFlag
    std::int32_t has_mask;      ///< 1 where a mask of bad pixels was read
    char reason[256];  ///< why it failed; empty when done
};
#pragma pack(pop)

/// How a member stands in HDF5, FITS and CSV.
using Member = h5::Member;

/// Members of a row type, in order. The list's end is the row's end: nothing is left out.
[[nodiscard]] std::span<const Member> source_members();
[[nodiscard]] std::span<const Member> sample_members();
[[nodiscard]] std::span<const Member> tile_members();
[[nodiscard]] std::span<const Member> field_members();

/// What was run to make a catalogue; root attributes of the file.
struct Provenance {
    std::string configuration{};  ///< resolved TOML
    std::string configuration_sha256{};
    std::string model_sha256{};
    std::string program_version{};
    std::int64_t draws = 0;   ///< joint draws of each field; attribute of /samples, which is there where they are
};

/// A catalogue in memory: what one catalog.h5 holds.
struct Catalog : Provenance {
    std::vector<SourceRow> sources;
    std::vector<SampleRow> samples;   ///< empty where none were drawn
    std::vector<TileRow> tiles;       ///< empty where they were not asked for
    std::vector<FieldRow> fields;
};

/// The sources of one of the catalogue's fields.
[[nodiscard]] std::span<const SourceRow> sources_of(const Catalog& catalog, const FieldRow& field);

/// Its joint draws.
[[nodiscard]] std::span<const SampleRow> samples_of(const Catalog& catalog, const FieldRow& field);

/// Copies a text into a row's member: cut to fit between two UTF-8 characters, the rest zeros.
template <std::size_t N>
void set_text(char (&member)[N], std::string_view text) {
    std::size_t length = std::min(text.size(), N);
    while (length < text.size() && length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
    for (std::size_t i = 0; i < N; ++i) member[i] = i < length ? text[i] : '\0';
}

/// The text of a row's member, without its padding.
template <std::size_t N>
[[nodiscard]] std::string_view text_of(const char (&member)[N]) {
    const std::string_view all{member, N};
    return all.substr(0, all.find('\0'));
}

}  // namespace bliss::catalog
