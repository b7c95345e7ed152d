#include "bliss/inference/field.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/units.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/inference/candidates.hpp"
#include "bliss/inference/posterior.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"

#include "one_thread.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
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

double median(std::vector<float> values) {
    if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
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
    std::strncpy(row.band, frame.band.c_str(), sizeof row.band - 1);
    row.height_px = frame.height();
    row.width_px = frame.width();
    row.psf_fwhm_px = frame.psf.fwhm_px();
    row.background_e = median({frame.background_e.pixels().begin(), frame.background_e.pixels().end()});
    row.electrons_per_nmgy = median(frame.electrons_per_nmgy);
    row.valid_share = survey::valid_share(frame);
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

bool near_invalid_pixel(const survey::Frame& frame, double x_px, double y_px) {
    const auto col = std::lround(x_px), row = std::lround(y_px);
    for (std::int64_t r = std::max<std::int64_t>(0, row - k_mask_reach_px); r <= std::min<std::int64_t>(frame.height() - 1, row + k_mask_reach_px); ++r) {
        for (std::int64_t c = std::max<std::int64_t>(0, col - k_mask_reach_px); c <= std::min<std::int64_t>(frame.width() - 1, col + k_mask_reach_px); ++c) {
            if (!frame.valid(r, c)) return true;
        }
    }
    return false;
}

catalog::SourceRow to_row(const survey::Frame& frame, const Candidate& c, double p_star, double threshold) {
    catalog::SourceRow row{};
    row.run = frame.id.run;
    row.camcol = frame.id.camcol;
    row.field = frame.id.field;
    row.tile_row = c.tile.row;
    row.tile_col = c.tile.col;
    row.slot = c.slot;
    row.x_px = c.x_px;
    row.y_px = c.y_px;
    row.x_err_px = std::sqrt(c.x_variance);
    row.y_err_px = std::sqrt(c.y_variance);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const survey::SkyPosition sky = frame.wcs ? frame.wcs->sky({c.x_px, c.y_px}) : survey::SkyPosition{nan, nan};
    row.ra_deg = sky.ra_deg;
    row.dec_deg = sky.dec_deg;
    row.p_source = c.p_source;
    row.p_star = p_star;
    const double sd = std::sqrt(c.ln_flux_variance);
    const auto col = static_cast<std::size_t>(std::clamp<std::int64_t>(std::lround(c.x_px), 0, frame.width() - 1));
    row.ln_flux_e_mean = c.ln_flux_mean;
    row.ln_flux_e_sd = sd;
    row.flux_nmgy = std::exp(c.ln_flux_mean) / frame.electrons_per_nmgy[col];
    row.flux_err_nmgy = row.flux_nmgy * std::sinh(sd);
    row.mag = magnitude_from_nmgy(row.flux_nmgy);
    row.mag_err = k_mag_per_ln_flux * sd;
    const auto edge = static_cast<double>(tile::k_padding_px);
    if (c.x_px < edge || c.y_px < edge || c.x_px > static_cast<double>(frame.width()) - 1 - edge ||
        c.y_px > static_cast<double>(frame.height()) - 1 - edge) {
        row.flags |= catalog::k_flag_frame_edge;
    }
    if (near_invalid_pixel(frame, c.x_px, c.y_px)) row.flags |= catalog::k_flag_masked_pixels;
    if (c.merged) row.flags |= catalog::k_flag_merged_tiles;
    if (c.multiple) row.flags |= catalog::k_flag_multiple;
    if (c.p_source >= threshold) row.flags |= catalog::k_flag_mode;
    return row;
}

/// P(star) of each candidate, from windows of the frame's features.
std::vector<double> classify(encoder::ClassificationEncoder& network, const survey::Frame& frame, const FrameInput& input,
                             const std::vector<Candidate>& candidates) {
    const at::Tensor profile = torch::tensor(encoder::psf_profile(frame.psf)).unsqueeze(0);
    std::vector<double> p_star(candidates.size());
    const auto batches = static_cast<std::int64_t>((candidates.size() + k_sources_per_batch - 1) / k_sources_per_batch);
    for_each_on_one_thread(batches, [&](std::int64_t batch) {
        const std::size_t first = static_cast<std::size_t>(batch) * k_sources_per_batch;
        const std::size_t last = std::min(candidates.size(), first + k_sources_per_batch);
        const auto n = static_cast<std::int64_t>(last - first);
        std::vector<std::int64_t> image(last - first, 0), row, col;
        encoder::SourceWindows windows;
        windows.offset_px = torch::empty({n, 2});
        auto offset = windows.offset_px.accessor<float, 2>();
        for (std::size_t k = first; k < last; ++k) {
            const Candidate& c = candidates[k];
            const auto x = std::lround(c.x_px), y = std::lround(c.y_px);
            col.push_back(x + tile::k_padding_px);
            row.push_back(y + tile::k_padding_px);
            offset[static_cast<std::int64_t>(k - first)][0] = static_cast<float>(c.x_px - static_cast<double>(x));
            offset[static_cast<std::int64_t>(k - first)][1] = static_cast<float>(c.y_px - static_cast<double>(y));
        }
        windows.features = tile::crops(input.features, image, row, col, tile::k_padded_tile_px);
        windows.conditions = input.conditions.expand({n, -1});
        windows.psf_profiles = profile;
        windows.psf_index = torch::zeros({n}, torch::kLong);
        const at::Tensor p = torch::sigmoid(network->forward(windows)).contiguous();
        std::copy_n(p.data_ptr<float>(), n, p_star.begin() + static_cast<std::ptrdiff_t>(first));
    });
    return p_star;
}

}  // namespace

Cataloguer::Cataloguer(encoder::Model model, const CatalogConfig& config) : model_{std::move(model)}, config_{config} {
    const bool able = encoder::processor_has_bfloat16();
    if (config.precision == Precision::bfloat16 && !able) {
        throw ConfigError("precision = \"bfloat16\": this processor does not compute it; use \"float32\" or \"auto\"");
    }
    bfloat16_ = config.precision == Precision::bfloat16 || (config.precision == Precision::automatic && able);
    if (bfloat16_) {
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
    // Elementwise functions round differently where a thread's share ends, so they too run on one thread.
    FrameInput input;
    for_each_on_one_thread(1, [&](std::int64_t) { input = prepare(frame, model_.config); });
    result.timing.prepare_s = lap(start);
    const at::Tensor raw = detect_dense(model_.detection, input);
    result.timing.detect_s = lap(start);
    const double rate_ratio = config_.sources_per_tile > 0 ? config_.sources_per_tile / model_.card.sources_per_tile : 1;
    Detections detections;
    for_each_on_one_thread(1, [&](std::int64_t) {
        detections = find_sources(model_.detection->posterior(raw, input.ln_noise), rate_ratio, config_.floor);
    });
    const std::vector<Candidate>& candidates = detections.candidates;
    result.timing.candidates_s = lap(start);
    const std::vector<double> p_star = classify(model_.classification, frame, input, candidates);
    for (std::size_t k = 0; k < candidates.size(); ++k) {
        result.sources.push_back(to_row(frame, candidates[k], p_star[k], config_.threshold));
    }
    result.field.expected_sources = detections.expected_sources;
    result.timing.classify_s = lap(start);
    warn_outside_training(model_.card, result.field, frame.source);
    return result;
}

}  // namespace bliss::inference
