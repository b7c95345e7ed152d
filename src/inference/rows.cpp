#include "rows.hpp"

#include "bliss/core/statistics.hpp"
#include "bliss/core/units.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace bliss::inference {
namespace {

/// A pixel this close to a source matters to its photometry.
constexpr std::int64_t k_mask_reach_px = 3;
/// A source whose pixels are less probable than this under the posterior is not explained, nor is one with this much more or less light
/// around it than expected, in standard deviations.
constexpr double k_least_p_fit = 0.001;
constexpr double k_most_surroundings_sigma = 5;
constexpr double k_degrees_per_radian = 180 / std::numbers::pi;

/// Electrons of one nanomaggy where a source lies.
double electrons_per_nmgy(const survey::Frame& frame, double x_px) {
    return frame.electrons_per_nmgy[static_cast<std::size_t>(std::clamp<std::int64_t>(std::lround(x_px), 0, frame.width() - 1))];
}

survey::SkyPosition sky_of(const survey::Frame& frame, double x_px, double y_px) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return frame.wcs ? frame.wcs->sky({x_px, y_px}) : survey::SkyPosition{nan, nan};
}

bool near_invalid_pixel(const survey::Frame& frame, double x_px, double y_px) {
    const auto col = std::lround(x_px), row = std::lround(y_px);
    for (std::int64_t r = std::max<std::int64_t>(0, row - k_mask_reach_px);
         r <= std::min<std::int64_t>(frame.height() - 1, row + k_mask_reach_px); ++r) {
        for (std::int64_t c = std::max<std::int64_t>(0, col - k_mask_reach_px);
             c <= std::min<std::int64_t>(frame.width() - 1, col + k_mask_reach_px); ++c) {
            if (!frame.valid(r, c)) return true;
        }
    }
    return false;
}

bool valid_at(const survey::Frame& frame, double x_px, double y_px) {
    const auto on_frame = [](double at, std::int64_t side) { return std::clamp<std::int64_t>(std::lround(at), 0, side - 1); };
    return frame.valid(on_frame(y_px, frame.height()), on_frame(x_px, frame.width())) != 0;
}

void set_shape(catalog::SourceRow& row, const std::optional<ShapeMarginals>& shape) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const ShapeMarginals s = shape.value_or(ShapeMarginals{{nan, nan, nan, nan}, {nan, nan, nan, nan}, {nan, nan, nan, nan}});
    row.half_light_radius_px = s.half_light_radius_px.median;
    row.half_light_radius_err_px = s.half_light_radius_px.error;
    row.half_light_radius_low_px = s.half_light_radius_px.low;
    row.half_light_radius_high_px = s.half_light_radius_px.high;
    row.axis_ratio = s.axis_ratio.median;
    row.axis_ratio_err = s.axis_ratio.error;
    row.axis_ratio_low = s.axis_ratio.low;
    row.axis_ratio_high = s.axis_ratio.high;
    row.angle_deg = s.angle_rad.median * k_degrees_per_radian;
    row.angle_err_deg = s.angle_rad.error * k_degrees_per_radian;
}

}  // namespace

catalog::FieldRow describe_field(const survey::Frame& frame, double background_e) {
    catalog::FieldRow row{};
    row.run = frame.id.run;
    row.camcol = frame.id.camcol;
    row.field = frame.id.field;
    catalog::set_text(row.band, frame.band);
    row.height_px = frame.height();
    row.width_px = frame.width();
    row.psf_fwhm_px = frame.psf.fwhm_px();
    row.background_e = background_e;
    row.electrons_per_nmgy = median(frame.electrons_per_nmgy);
    row.valid_share = survey::valid_share(frame);
    row.has_mask = frame.has_mask ? 1 : 0;
    const auto sky = [&](double x, double y) { return sky_of(frame, x, y); };
    const double right = static_cast<double>(frame.width() - 1);
    const double top = static_cast<double>(frame.height() - 1);
    const survey::SkyPosition centre = sky(right / 2, top / 2);
    row.ra_deg = centre.ra_deg;
    row.dec_deg = centre.dec_deg;
    const survey::SkyPosition corners[4] = {sky(0, 0), sky(right, 0), sky(right, top), sky(0, top)};
    for (int k = 0; k < 4; ++k) {
        row.corner_ra_deg[k] = corners[k].ra_deg;
        row.corner_dec_deg[k] = corners[k].dec_deg;
    }
    return row;
}

bool off_frame(const survey::Frame& frame, double x_px, double y_px) {
    return x_px < -0.5 || y_px < -0.5 || x_px >= static_cast<double>(frame.width()) - 0.5 ||
           y_px >= static_cast<double>(frame.height()) - 0.5;
}

catalog::SourceRow to_row(const survey::Frame& frame, const Source& c, const TypeAndShape& kind, const FlagLimits& limits) {
    catalog::SourceRow row{};
    row.run = frame.id.run;
    row.camcol = frame.id.camcol;
    row.field = frame.id.field;
    row.tile_row = c.tile.row;
    row.tile_col = c.tile.col;
    row.slot = c.slot;
    const double x = c.x_px.median, y = c.y_px.median;
    row.x_px = x;
    row.y_px = y;
    row.x_err_px = c.x_px.error;
    row.y_err_px = c.y_px.error;
    row.x_low_px = c.x_px.low;
    row.x_high_px = c.x_px.high;
    row.y_low_px = c.y_px.low;
    row.y_high_px = c.y_px.high;
    const survey::SkyPosition sky = sky_of(frame, x, y);
    row.ra_deg = sky.ra_deg;
    row.dec_deg = sky.dec_deg;
    row.p_source = c.p_source;
    row.p_star = kind.p_star;
    set_shape(row, kind.shape);
    const double error = c.ln_flux_e.error;
    row.ln_flux_e = c.ln_flux_e.median;
    row.ln_flux_e_err = error;
    row.ln_flux_e_low = c.ln_flux_e.low;
    row.ln_flux_e_high = c.ln_flux_e.high;
    row.flux_nmgy = std::exp(c.ln_flux_e.median) / electrons_per_nmgy(frame, x);
    row.flux_err_nmgy = row.flux_nmgy * std::sinh(error);
    row.mag = magnitude_from_nmgy(row.flux_nmgy);
    row.mag_err = k_mag_per_ln_flux * error;
    const auto edge = static_cast<double>(tile::k_padding_px);
    if (x < edge || y < edge || x > static_cast<double>(frame.width()) - 1 - edge ||
        y > static_cast<double>(frame.height()) - 1 - edge) {
        row.flags |= catalog::k_flag_frame_edge;
    }
    if (near_invalid_pixel(frame, x, y)) row.flags |= catalog::k_flag_masked_pixels;
    if (c.merged) row.flags |= catalog::k_flag_merged_tiles;
    if (c.multiple) row.flags |= catalog::k_flag_multiple;
    if (c.p_source >= limits.threshold) row.flags |= catalog::k_flag_mode;
    if (!valid_at(frame, x, y)) row.flags |= catalog::k_flag_masked_centre;
    if (c.ln_flux_e.median > limits.ln_flux_max_e) row.flags |= catalog::k_flag_above_prior;
    row.p_fit = catalog::k_nan;
    row.surroundings_sigma = catalog::k_nan;
    row.primary = 1;
    return row;
}

catalog::SampleRow to_row(const survey::Frame& frame, const SampledSource& s, const simulator::GalaxyLight& light) {
    const survey::SkyPosition sky = sky_of(frame, s.x_px, s.y_px);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    catalog::SampleRow row{.field_index = 0,  // set when written
                           .sample = s.sample,
                           .is_star = s.is_star ? 1 : 0,
                           .x_px = s.x_px,
                           .y_px = s.y_px,
                           .ra_deg = sky.ra_deg,
                           .dec_deg = sky.dec_deg,
                           .flux_nmgy = std::exp(s.ln_flux_e) / electrons_per_nmgy(frame, s.x_px),
                           .ln_flux_e = s.ln_flux_e,
                           .half_light_radius_px = nan,
                           .axis_ratio = nan,
                           .angle_deg = nan,
                           .primary = 1};  // settled when written, as that of sources
    if (!s.latents.empty()) {
        const simulator::Morphology shape = simulator::morphology_of(light);
        row.half_light_radius_px = shape.half_light_radius_px;
        row.axis_ratio = shape.axis_ratio();
        row.angle_deg = shape.angle_rad() * k_degrees_per_radian;
    }
    return row;
}

void set_fit(const Reconstruction& reconstruction, std::vector<catalog::SourceRow>& sources, catalog::FieldRow& field) {
    tile::for_each_on_one_thread(std::ssize(sources), [&](std::int64_t k) {
        catalog::SourceRow& row = sources[static_cast<std::size_t>(k)];
        const SourceFit fit = reconstruction.at(row.x_px, row.y_px);
        row.p_fit = fit.p_value;
        row.surroundings_sigma = fit.surroundings_sigma;
        if (fit.p_value < k_least_p_fit) row.flags |= catalog::k_flag_poor_fit;
        if (std::abs(fit.surroundings_sigma) > k_most_surroundings_sigma) row.flags |= catalog::k_flag_surroundings;
    });
    const FieldFit fit = reconstruction.whole();
    field.p_fit = fit.p_value;
    field.chi2_per_px = fit.chi2_per_px;
    field.unexplained_share = fit.unexplained_share;
}

}  // namespace bliss::inference
