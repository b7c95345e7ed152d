#include "batch.hpp"

#include "bliss/core/version.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::training {
namespace {

/// A location error is not taken larger than this: where the detection encoder knows nothing yet, nor could the classifier.
constexpr double k_location_error_max_px = 2;

}  // namespace

Batch make_batch(const TrainingConfig& config, const simulator::GalaxyDecoder* decoder, const simulator::SampleRange& range,
                 std::int64_t images) {
    const std::int64_t side = config.tiles_per_side * tile::k_tile_px + 2 * tile::k_padding_px;
    tile::PixelBlock pixels{torch::empty({images, side, side}), torch::empty({images, 1, 1}),
                            torch::empty({images, side, side}, torch::kUInt8)};
    const simulator::SimulationTarget target{{pixels.electrons.data_ptr<float>(), images, side, side},
                                             pixels.valid.data_ptr<std::uint8_t>()};
    const std::vector<simulator::ImageTruth> truths = simulator::simulate(config.simulator, decoder, range, target);

    Batch batch;
    batch.range = range;
    batch.conditions = {torch::empty({images, encoder::k_condition_count}), torch::empty({images, 1}), {}};
    at::Tensor filters = torch::empty({images, tile::k_filter_count, tile::k_filter_px, tile::k_filter_px});
    batch.psf_profiles = torch::empty({images, encoder::k_profile_length});
    for (std::int64_t i = 0; i < images; ++i) {
        const simulator::Conditions& conditions = truths[static_cast<std::size_t>(i)].conditions;
        pixels.background_e[i] = conditions.background_e;
        batch.conditions.rate[i] = encoder::rate_conditioning(conditions.sources_per_tile);
        filters[i] = tile::matched_filters(conditions.psf);
        const auto numbers = encoder::conditioning(conditions.psf, conditions.background_e);
        const auto profile = encoder::psf_profile(conditions.psf);
        std::copy(numbers.begin(), numbers.end(), batch.conditions.numbers.data_ptr<float>() + i * encoder::k_condition_count);
        std::copy(profile.begin(), profile.end(), batch.psf_profiles.data_ptr<float>() + i * encoder::k_profile_length);
    }
    batch.features = tile::features(pixels, filters, config.encoder.compression_scales);
    batch.conditions.ln_noise = 0.5 * torch::log(pixels.background_e).unsqueeze(-1);
    batch.labels = make_labels(truths, config.simulator.prior.label_flux_min_e, config.tiles_per_side, config.encoder.max_sources);
    batch.is_star = torch::empty({static_cast<std::int64_t>(batch.labels.sources.size())});
    for (std::size_t k = 0; k < batch.labels.sources.size(); ++k) {
        batch.is_star.data_ptr<float>()[k] = batch.labels.sources[k].is_star ? 1.0f : 0.0f;
    }
    return batch;
}

encoder::SourceWindows windows_at_inferred_locations(const Batch& batch, const encoder::TilePosterior& q) {
    const auto n = batch.labels.sources.size();
    const at::Tensor u_sd = q.u_sd.detach().contiguous(), v_sd = q.v_sd.detach().contiguous(), weight = q.log_weight.detach().exp();
    const auto u_at = u_sd.accessor<float, 5>(), v_at = v_sd.accessor<float, 5>(), weight_at = weight.accessor<float, 5>();
    const std::int64_t parts = u_sd.size(2), tile_cols = u_sd.size(4);
    std::vector<std::int64_t> image(n), row(n), col(n);
    encoder::SourceWindows windows;
    windows.offset_px = torch::empty({static_cast<std::int64_t>(n), 2});
    auto offset = windows.offset_px.accessor<float, 2>();
    for (std::size_t k = 0; k < n; ++k) {
        const LabelledSource& s = batch.labels.sources[k];
        RandomStream random{batch.range.seed, StreamPurpose::crop, batch.range.step,
                            batch.range.first_sample + static_cast<std::uint32_t>(s.image),
                            static_cast<std::uint32_t>((s.tile_row * tile_cols + s.tile_col) * 4 + s.slot)};
        const auto moved = [&](double at_px, float sd_tiles) {
            return at_px + std::min<double>(k_location_error_max_px, tile::k_tile_px * sd_tiles) * random.normal();
        };
        std::int64_t c = 0;
        if (parts > 1) {
            for (double u = random.uniform(); c + 1 < parts && u > weight_at[s.image][s.slot][c][s.tile_row][s.tile_col]; ++c) {
                u -= weight_at[s.image][s.slot][c][s.tile_row][s.tile_col];
            }
        }
        const double x = moved(s.x_px, u_at[s.image][s.slot][c][s.tile_row][s.tile_col]);
        const double y = moved(s.y_px, v_at[s.image][s.slot][c][s.tile_row][s.tile_col]);
        image[k] = s.image;
        col[k] = std::lround(x);
        row[k] = std::lround(y);
        offset[static_cast<std::int64_t>(k)][0] = static_cast<float>(x - static_cast<double>(col[k]));
        offset[static_cast<std::int64_t>(k)][1] = static_cast<float>(y - static_cast<double>(row[k]));
    }
    windows.features = tile::crops(batch.features, image, row, col, tile::k_padded_tile_px);
    windows.psf_index = torch::tensor(image);
    windows.conditions = batch.conditions.numbers.index_select(0, windows.psf_index);
    windows.psf_profiles = batch.psf_profiles;
    return windows;
}

double mean_rate(const simulator::SimulatorConfig& config) {
    const double low = config.conditions.sources_per_tile_low;
    const double high = config.conditions.sources_per_tile_high;
    return high > low ? (high - low) / std::log(high / low) : low;
}

encoder::ModelCard make_card(const TrainingConfig& config, std::int64_t steps, const std::string& metrics_json) {
    const simulator::ConditionsConfig& conditions = config.simulator.conditions;
    const auto fwhm = [&](double sigma1, double sigma2, double b) {
        return survey::Psf({{1.0, sigma1}, {b * sigma2 * sigma2 / (sigma1 * sigma1) + 1e-9, sigma2}}).fwhm_px();
    };
    encoder::ModelCard card;
    card.sources_per_tile = mean_rate(config.simulator);
    card.label_flux_min_e = config.simulator.prior.label_flux_min_e;
    card.star_fraction = config.simulator.prior.star_fraction;
    card.psf_fwhm_px_low = fwhm(conditions.psf_sigma1_px_low, conditions.psf_sigma2_px_low, 0);
    card.psf_fwhm_px_high = fwhm(conditions.psf_sigma1_px_high, conditions.psf_sigma2_px_high, conditions.psf_b_high);
    card.background_e_low = conditions.background_e_low;
    card.background_e_high = conditions.background_e_high;
    card.sources_per_tile_low = conditions.sources_per_tile_low;
    card.sources_per_tile_high = conditions.sources_per_tile_high;
    card.seed = static_cast<std::uint64_t>(config.seed);
    card.steps = steps;
    card.tiles = steps * config.images_per_step * config.tiles_per_side * config.tiles_per_side;
    card.training_config = to_toml(config, false);
    card.program_version = k_program_version;
    card.metrics = metrics_json;
    return card;
}

}  // namespace bliss::training
