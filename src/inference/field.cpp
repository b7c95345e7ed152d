#include "bliss/inference/field.hpp"

#include "bliss/core/check.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/statistics.hpp"
#include "bliss/core/units.hpp"
#include "bliss/inference/candidates.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace bliss::inference {
namespace {

using Clock = std::chrono::steady_clock;

/// Sources classified at once: their activations stay in the cache.
constexpr std::size_t k_sources_per_batch = 64;
/// A pixel this close to a source matters to its photometry.
constexpr std::int64_t k_mask_reach_px = 3;

double lap(Clock::time_point& start) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - start).count();
    start = now;
    return seconds;
}

void warn_outside_training(const encoder::ModelCard& card, const catalog::FieldRow& field, const std::string& source) {
    const auto outside = [&](std::string_view what, double value, double low, double high) {
        if (value >= low && value <= high) return;
        spdlog::warn("{}: {} {:.4g} is outside the model's training range {:.4g} to {:.4g}; probabilities may be off", source, what,
                     value, low, high);
    };
    outside("PSF FWHM (px)", field.psf_fwhm_px, card.psf_fwhm_px_low, card.psf_fwhm_px_high);
    outside("background (electrons)", field.background_e, card.background_e_low, card.background_e_high);
    const double tiles = static_cast<double>(tile::TileGrid{field.height_px, field.width_px}.size());
    const double density = field.expected_sources / tiles;
    if (density > card.sources_per_tile_high) {
        spdlog::warn("{}: {:.4f} sources per tile are above the model's training range (up to {:.4f}); use a model for crowded fields",
                     source, density, card.sources_per_tile_high);
    }
}

catalog::FieldRow describe_field(const survey::Frame& frame) {
    catalog::FieldRow row{};
    row.run = frame.id.run;
    row.camcol = frame.id.camcol;
    row.field = frame.id.field;
    catalog::set_text(row.band, frame.band);
    row.height_px = frame.height();
    row.width_px = frame.width();
    row.psf_fwhm_px = frame.psf.fwhm_px();
    row.background_e = survey::median_background_e(frame);
    row.electrons_per_nmgy = median(frame.electrons_per_nmgy);
    row.valid_share = survey::valid_share(frame);
    row.has_mask = frame.has_mask ? 1 : 0;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const auto sky = [&](double x, double y) { return frame.wcs ? frame.wcs->sky({x, y}) : survey::SkyPosition{nan, nan}; };
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

bool off_frame(const survey::Frame& frame, const Source& source) {
    return source.x_px.median >= static_cast<double>(frame.width()) - 0.5 ||
           source.y_px.median >= static_cast<double>(frame.height()) - 0.5;
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

catalog::SourceRow to_row(const survey::Frame& frame, const Source& c, double p_star, double threshold) {
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
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const survey::SkyPosition sky = frame.wcs ? frame.wcs->sky({x, y}) : survey::SkyPosition{nan, nan};
    row.ra_deg = sky.ra_deg;
    row.dec_deg = sky.dec_deg;
    row.p_source = c.p_source;
    row.p_star = p_star;
    const double error = c.ln_flux_e.error;
    const auto col = static_cast<std::size_t>(std::clamp<std::int64_t>(std::lround(x), 0, frame.width() - 1));
    row.ln_flux_e = c.ln_flux_e.median;
    row.ln_flux_e_err = error;
    row.ln_flux_e_low = c.ln_flux_e.low;
    row.ln_flux_e_high = c.ln_flux_e.high;
    row.flux_nmgy = std::exp(c.ln_flux_e.median) / frame.electrons_per_nmgy[col];
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
    if (c.p_source >= threshold) row.flags |= catalog::k_flag_mode;
    return row;
}

/// P(star) of each source, from windows of the frame's features.
std::vector<double> classify(encoder::ClassificationEncoder& network, const survey::Frame& frame, const FrameInput& input,
                             const std::vector<Source>& sources) {
    const at::Tensor profile = torch::tensor(encoder::psf_profile(frame.psf)).unsqueeze(0);
    std::vector<double> p_star(sources.size());
    const auto batches = static_cast<std::int64_t>((sources.size() + k_sources_per_batch - 1) / k_sources_per_batch);
    tile::for_each_on_one_thread(batches, [&](std::int64_t batch) {
        const std::size_t first = static_cast<std::size_t>(batch) * k_sources_per_batch;
        const std::size_t last = std::min(sources.size(), first + k_sources_per_batch);
        const auto n = static_cast<std::int64_t>(last - first);
        std::vector<std::int64_t> image(last - first, 0), row, col;
        encoder::SourceWindows windows;
        windows.offset_px = torch::empty({n, 2});
        auto offset = windows.offset_px.accessor<float, 2>();
        for (std::size_t k = first; k < last; ++k) {
            const Source& c = sources[k];
            const auto x = std::lround(c.x_px.median), y = std::lround(c.y_px.median);
            col.push_back(x + tile::k_padding_px);
            row.push_back(y + tile::k_padding_px);
            offset[static_cast<std::int64_t>(k - first)][0] = static_cast<float>(c.x_px.median - static_cast<double>(x));
            offset[static_cast<std::int64_t>(k - first)][1] = static_cast<float>(c.y_px.median - static_cast<double>(y));
        }
        windows.features = tile::crops(input.features, image, row, col, tile::k_padded_tile_px);
        windows.conditions = input.conditions.numbers.expand({n, -1});
        windows.psf_profiles = profile;
        windows.psf_index = torch::zeros({n}, torch::kLong);
        const at::Tensor p = torch::sigmoid(network->forward(windows)).contiguous();
        std::copy_n(p.data_ptr<float>(), n, p_star.begin() + static_cast<std::ptrdiff_t>(first));
    });
    return p_star;
}

}  // namespace

Cataloguer::Cataloguer(encoder::Model model, const CatalogConfig& config, encoder::Precision precision)
    : model_{std::move(model)}, config_{config} {
    BLISS_EXPECT(precision != encoder::Precision::automatic, "the precision has been chosen");
    if (precision == encoder::Precision::bfloat16) {
        model_.detection->use_bfloat16();
        model_.classification->use_bfloat16();
    }
    model_.detection->eval();
    model_.classification->eval();
}

Cataloguer::Result Cataloguer::catalogue(const survey::Frame& frame) {
    if (frame.band != model_.config.bands.front()) {
        throw DataError(fmt::format("{}: is band '{}', the model reads band '{}'; name another model or band", frame.source, frame.band,
                                    model_.config.bands.front()));
    }
    auto start = Clock::now();
    Result result;
    result.field = describe_field(frame);
    // The networks are told the survey's rate; what is left of it outside their training range moves the odds.
    const encoder::ModelCard& card = model_.card;
    const double rate = config_.sources_per_tile > 0 ? config_.sources_per_tile : card.sources_per_tile;
    const double told_rate = std::clamp(rate, card.sources_per_tile_low, card.sources_per_tile_high);
    const FrameInput input = prepare(frame, model_.config, told_rate);
    result.timing.prepare_s = lap(start);
    const at::Tensor raw = detect_dense(model_.detection, input);
    if (!raw.isfinite().all().item<bool>()) {
        throw DataError(fmt::format("{}: the network's answer is not finite; check the image's units and background", frame.source));
    }
    result.timing.detect_s = lap(start);
    encoder::TilePosterior posterior;
    tile::for_each_on_one_thread(1, [&](std::int64_t) { posterior = model_.detection->posterior(raw, input.conditions); });
    auto [sources, expected_sources] = find_sources(posterior, rate / told_rate, config_.floor);
    // The last row and column of tiles reach over the frame's edge; what lies there is another field's.
    for (const Source& source : sources) expected_sources -= off_frame(frame, source) ? source.p_source : 0;
    std::erase_if(sources, [&](const Source& source) { return off_frame(frame, source); });
    result.timing.candidates_s = lap(start);
    const std::vector<double> p_star = classify(model_.classification, frame, input, sources);
    for (std::size_t k = 0; k < sources.size(); ++k) {
        result.sources.push_back(to_row(frame, sources[k], p_star[k], config_.threshold));
    }
    result.field.expected_sources = expected_sources;
    result.timing.classify_s = lap(start);
    warn_outside_training(model_.card, result.field, frame.source);
    return result;
}

}  // namespace bliss::inference
