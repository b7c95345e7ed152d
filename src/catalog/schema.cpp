#include "bliss/catalog/schema.hpp"

#include <cstddef>

namespace bliss::catalog {

namespace {

using Type = Member::Type;

#define BLISS_MEMBER(row, name, type, length, unit, about) {#name, type, offsetof(row, name), length, unit, about}

constexpr Member k_source_members[] = {
    BLISS_MEMBER(SourceRow, field_index, Type::i64, 1, "", "row of /fields"),
    BLISS_MEMBER(SourceRow, run, Type::i32, 1, "", "SDSS imaging run, 0 for a generic image"),
    BLISS_MEMBER(SourceRow, camcol, Type::i32, 1, "", "SDSS camera column, 0 for a generic image"),
    BLISS_MEMBER(SourceRow, field, Type::i32, 1, "", "SDSS field number, or place in the list of images"),
    BLISS_MEMBER(SourceRow, tile_row, Type::i32, 1, "", "row of the model's tile it most probably lies in"),
    BLISS_MEMBER(SourceRow, tile_col, Type::i32, 1, "", "column of that tile"),
    BLISS_MEMBER(SourceRow, slot, Type::i32, 1, "", "which slot of the tile's posterior, 0 is filled first"),
    BLISS_MEMBER(SourceRow, x_px, Type::f64, 1, "px", "column, 0 = centre of the first pixel; posterior median"),
    BLISS_MEMBER(SourceRow, y_px, Type::f64, 1, "px", "row, 0 = centre of the first pixel; posterior median"),
    BLISS_MEMBER(SourceRow, x_err_px, Type::f64, 1, "px", "half the central 68.3 % interval of x_px"),
    BLISS_MEMBER(SourceRow, y_err_px, Type::f64, 1, "px", "half the central 68.3 % interval of y_px"),
    BLISS_MEMBER(SourceRow, x_low_px, Type::f64, 1, "px", "5 % quantile of x_px"),
    BLISS_MEMBER(SourceRow, x_high_px, Type::f64, 1, "px", "95 % quantile of x_px"),
    BLISS_MEMBER(SourceRow, y_low_px, Type::f64, 1, "px", "5 % quantile of y_px"),
    BLISS_MEMBER(SourceRow, y_high_px, Type::f64, 1, "px", "95 % quantile of y_px"),
    BLISS_MEMBER(SourceRow, ra_deg, Type::f64, 1, "deg", "right ascension (ICRS), NaN without a WCS"),
    BLISS_MEMBER(SourceRow, dec_deg, Type::f64, 1, "deg", "declination (ICRS), NaN without a WCS"),
    BLISS_MEMBER(SourceRow, p_source, Type::f64, 1, "", "probability that there is a source"),
    BLISS_MEMBER(SourceRow, p_star, Type::f64, 1, "", "probability that it is a star, given that it is a source"),
    BLISS_MEMBER(SourceRow, flux_nmgy, Type::f64, 1, "nmgy", "total flux, posterior median"),
    BLISS_MEMBER(SourceRow, flux_err_nmgy, Type::f64, 1, "nmgy", "half the central 68.3 % interval of the flux, as of a log-normal"),
    BLISS_MEMBER(SourceRow, ln_flux_e, Type::f64, 1, "", "ln(flux / photo-electron), posterior median"),
    BLISS_MEMBER(SourceRow, ln_flux_e_err, Type::f64, 1, "", "half the central 68.3 % interval of ln_flux_e"),
    BLISS_MEMBER(SourceRow, ln_flux_e_low, Type::f64, 1, "", "5 % quantile of ln_flux_e"),
    BLISS_MEMBER(SourceRow, ln_flux_e_high, Type::f64, 1, "", "95 % quantile of ln_flux_e"),
    BLISS_MEMBER(SourceRow, mag, Type::f64, 1, "mag", "AB (Pogson) magnitude of flux_nmgy"),
    BLISS_MEMBER(SourceRow, mag_err, Type::f64, 1, "mag", "half the central 68.3 % interval of mag"),
    BLISS_MEMBER(SourceRow, half_light_radius_px, Type::f64, 1, "px",
                 "half-light radius above the atmosphere, circularised, if it is a galaxy; posterior median, NaN without shapes"),
    BLISS_MEMBER(SourceRow, half_light_radius_err_px, Type::f64, 1, "px", "half the central 68.3 % interval of half_light_radius_px"),
    BLISS_MEMBER(SourceRow, half_light_radius_low_px, Type::f64, 1, "px", "5 % quantile of half_light_radius_px"),
    BLISS_MEMBER(SourceRow, half_light_radius_high_px, Type::f64, 1, "px", "95 % quantile of half_light_radius_px"),
    BLISS_MEMBER(SourceRow, axis_ratio, Type::f64, 1, "", "minor to major axis, if it is a galaxy; posterior median, NaN without shapes"),
    BLISS_MEMBER(SourceRow, axis_ratio_err, Type::f64, 1, "", "half the central 68.3 % interval of axis_ratio"),
    BLISS_MEMBER(SourceRow, axis_ratio_low, Type::f64, 1, "", "5 % quantile of axis_ratio"),
    BLISS_MEMBER(SourceRow, axis_ratio_high, Type::f64, 1, "", "95 % quantile of axis_ratio"),
    BLISS_MEMBER(SourceRow, angle_deg, Type::f64, 1, "deg",
                 "major axis, from +x towards +y, 0 to 180, if it is a galaxy; posterior median, NaN without shapes"),
    BLISS_MEMBER(SourceRow, angle_err_deg, Type::f64, 1, "deg", "half the central 68.3 % interval of angle_deg"),
    BLISS_MEMBER(SourceRow, p_fit, Type::f64, 1, "",
                 "posterior predictive p-value of the pixels within one FWHM of the PSF; NaN with fewer than 8 joint draws"),
    BLISS_MEMBER(
        SourceRow, surroundings_sigma, Type::f64, 1, "",
        "light within 12 px that the posterior does not expect, in predictive standard deviations; NaN with fewer than 8 joint draws"),
    BLISS_MEMBER(
        SourceRow, flags, Type::u32, 1, "",
        "bits: 1 pixels not valid within 3 px, 2 within 24 px of the frame's edge, 4 joined over tiles, 8 not "
        "alone in its tile, 16 in the mode catalogue (p_source at least the threshold), 32 the pixel at its "
        "place is not valid, 64 brighter than the model's prior (fields drawn from the likelihood: or at its bright end), 128 p_fit below "
        "0.001, 256 surroundings_sigma beyond 5"),
    BLISS_MEMBER(SourceRow, primary, Type::i32, 1, "",
                 "1 where its field owns its place on the sky; 0 where fields overlap and another one does, whether or not it has a row "
                 "there"),
};

constexpr Member k_sample_members[] = {
    BLISS_MEMBER(SampleRow, field_index, Type::i64, 1, "", "row of /fields"),
    BLISS_MEMBER(SampleRow, sample, Type::i32, 1, "", "which joint draw, from 0"),
    BLISS_MEMBER(SampleRow, is_star, Type::i32, 1, "", "1 star, 0 galaxy"),
    BLISS_MEMBER(SampleRow, x_px, Type::f64, 1, "px", "column, 0 = centre of the first pixel"),
    BLISS_MEMBER(SampleRow, y_px, Type::f64, 1, "px", "row, 0 = centre of the first pixel"),
    BLISS_MEMBER(SampleRow, ra_deg, Type::f64, 1, "deg", "right ascension (ICRS), NaN without a WCS"),
    BLISS_MEMBER(SampleRow, dec_deg, Type::f64, 1, "deg", "declination (ICRS), NaN without a WCS"),
    BLISS_MEMBER(SampleRow, flux_nmgy, Type::f64, 1, "nmgy", "total flux"),
    BLISS_MEMBER(SampleRow, ln_flux_e, Type::f64, 1, "", "ln(flux / photo-electron)"),
    BLISS_MEMBER(SampleRow, half_light_radius_px, Type::f64, 1, "px",
                 "half-light radius of a galaxy above the atmosphere, circularised; NaN for stars and without shapes"),
    BLISS_MEMBER(SampleRow, axis_ratio, Type::f64, 1, "", "minor to major axis of a galaxy; NaN for stars and without shapes"),
    BLISS_MEMBER(SampleRow, angle_deg, Type::f64, 1, "deg",
                 "major axis of a galaxy, from +x towards +y, 0 to 180; NaN for stars and without shapes"),
    BLISS_MEMBER(SampleRow, primary, Type::i32, 1, "", "1 where its field owns its place on the sky, 0 where an overlapping one does"),
};

constexpr Member k_tile_members[] = {
    BLISS_MEMBER(TileRow, field_index, Type::i64, 1, "", "row of /fields"),
    BLISS_MEMBER(TileRow, tile_row, Type::i32, 1, "", "row of the model's tile"),
    BLISS_MEMBER(TileRow, tile_col, Type::i32, 1, "", "column of the model's tile"),
    BLISS_MEMBER(TileRow, p_count, Type::f32, k_tile_counts, "",
                 "probability of 0, 1, 2 and of 3 or more sources, given the mode of the tiles asked before it"),
};

constexpr Member k_field_members[] = {
    BLISS_MEMBER(FieldRow, run, Type::i32, 1, "", "SDSS imaging run, 0 for a generic image"),
    BLISS_MEMBER(FieldRow, camcol, Type::i32, 1, "", "SDSS camera column, 0 for a generic image"),
    BLISS_MEMBER(FieldRow, field, Type::i32, 1, "", "SDSS field number, or place in the list of images"),
    BLISS_MEMBER(FieldRow, status, Type::i32, 1, "", "0 done, 1 failed (see reason)"),
    BLISS_MEMBER(FieldRow, band, Type::text, sizeof(FieldRow::band), "", "photometric band"),
    BLISS_MEMBER(FieldRow, height_px, Type::i64, 1, "px", "rows of the image"),
    BLISS_MEMBER(FieldRow, width_px, Type::i64, 1, "px", "columns of the image"),
    BLISS_MEMBER(FieldRow, first_source, Type::i64, 1, "", "first row in /catalog"),
    BLISS_MEMBER(FieldRow, source_count, Type::i64, 1, "", "rows in /catalog"),
    BLISS_MEMBER(FieldRow, first_sample, Type::i64, 1, "", "first row in /samples"),
    BLISS_MEMBER(FieldRow, sample_count, Type::i64, 1, "", "rows in /samples, over all joint draws"),
    BLISS_MEMBER(FieldRow, first_tile, Type::i64, 1, "", "first row in /tiles"),
    BLISS_MEMBER(FieldRow, tile_count, Type::i64, 1, "", "rows in /tiles"),
    BLISS_MEMBER(FieldRow, expected_sources, Type::f64, 1, "",
                 "expected number of sources under the posterior, in tiles that see the sky; of fields drawn from the likelihood on all of "
                 "the image"),
    BLISS_MEMBER(FieldRow, ra_deg, Type::f64, 1, "deg", "right ascension (ICRS) of the image's centre, NaN without a WCS"),
    BLISS_MEMBER(FieldRow, dec_deg, Type::f64, 1, "deg", "declination (ICRS) of the image's centre, NaN without a WCS"),
    BLISS_MEMBER(FieldRow, corner_ra_deg, Type::f64, 4, "deg", "right ascension of pixels (0,0), (0,W-1), (H-1,W-1), (H-1,0)"),
    BLISS_MEMBER(FieldRow, corner_dec_deg, Type::f64, 4, "deg", "declination of the same pixels"),
    BLISS_MEMBER(FieldRow, psf_fwhm_px, Type::f64, 1, "px", "full width at half maximum of the PSF"),
    BLISS_MEMBER(FieldRow, background_e, Type::f64, 1, "electron",
                 "median background per pixel, detector variance included: the noise variance of empty sky"),
    BLISS_MEMBER(FieldRow, electrons_per_nmgy, Type::f64, 1, "electron / nmgy", "median calibration"),
    BLISS_MEMBER(FieldRow, valid_share, Type::f64, 1, "", "share of valid pixels"),
    BLISS_MEMBER(FieldRow, sources_per_tile, Type::f64, 1, "",
                 "prior source rate per 4x4-pixel tile the field was catalogued under, sources above the model's limit"),
    BLISS_MEMBER(FieldRow, star_fraction, Type::f64, 1, "", "prior share of stars among them"),
    BLISS_MEMBER(FieldRow, star_alpha, Type::f64, 1, "", "prior Pareto exponent of their fluxes"),
    BLISS_MEMBER(FieldRow, galaxy_alpha, Type::f64, 1, "", "prior Pareto exponent of galaxies' fluxes"),
    BLISS_MEMBER(FieldRow, p_fit, Type::f64, 1, "", "posterior predictive p-value of all valid pixels; NaN with fewer than 8 joint draws"),
    BLISS_MEMBER(FieldRow, chi2_per_px, Type::f64, 1, "",
                 "mean squared residual in predictive standard deviations; NaN with fewer than 8 joint draws"),
    BLISS_MEMBER(
        FieldRow, unexplained_share, Type::f64, 1, "",
        "share of 4x4-pixel cells whose light is 5 or more standard deviations from what is expected; NaN with fewer than 8 joint draws"),
    BLISS_MEMBER(
        FieldRow, prior_flags, Type::u32, 1, "",
        "bits: 1 source rate outside the model's training range, 2 types or fluxes weigh over ten times more or less than in training, "
        "4 the density found is outside the training range"),
    BLISS_MEMBER(FieldRow, has_mask, Type::i32, 1, "", "1 where a mask of bad pixels was read"),
    BLISS_MEMBER(FieldRow, reason, Type::text, sizeof(FieldRow::reason), "", "why the field failed; empty when done"),
};

#undef BLISS_MEMBER

/// Members follow each other without a gap and fill the row.
constexpr bool covers(std::span<const Member> members, std::size_t row_bytes) {
    std::size_t end = 0;
    for (const Member& member : members) {
        if (member.offset != end) return false;
        end += member.bytes();
    }
    return end == row_bytes;
}
static_assert(covers(k_source_members, sizeof(SourceRow)), "the list of members must follow SourceRow");
static_assert(covers(k_sample_members, sizeof(SampleRow)), "the list of members must follow SampleRow");
static_assert(covers(k_tile_members, sizeof(TileRow)), "the list of members must follow TileRow");
static_assert(covers(k_field_members, sizeof(FieldRow)), "the list of members must follow FieldRow");

}  // namespace

std::span<const Member> source_members() { return k_source_members; }
std::span<const Member> sample_members() { return k_sample_members; }
std::span<const Member> tile_members() { return k_tile_members; }
std::span<const Member> field_members() { return k_field_members; }

std::span<const SourceRow> sources_of(const Catalog& catalog, const FieldRow& field) {
    return std::span{catalog.sources}.subspan(static_cast<std::size_t>(field.first_source), static_cast<std::size_t>(field.source_count));
}

std::span<const SampleRow> samples_of(const Catalog& catalog, const FieldRow& field) {
    return std::span{catalog.samples}.subspan(static_cast<std::size_t>(field.first_sample), static_cast<std::size_t>(field.sample_count));
}

}  // namespace bliss::catalog
