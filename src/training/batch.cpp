#include "batch.hpp"

#include "bliss/core/version.hpp"
#include "bliss/encoder/slot_moments.hpp"
#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"
#include "bliss/training/gpu_images.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace bliss::training {
namespace {

/// Share of the sources that are given to the encoders of single sources by moments, the others as they are.
constexpr double k_share_given_by_moments = 0.5;
/// Windows come in multiples of this: kernels are compiled anew for every number of them.
constexpr std::size_t k_windows_multiple = 8;
/// cuDNN takes milliseconds to choose kernels for a new number: on a GPU only so many numbers lie between a power of two and the next.
constexpr std::size_t k_windows_steps_gpu = 8;

/// How many windows are computed for n that are asked for.
std::size_t round_number_of_windows(std::size_t n, c10::Device device) {
    std::size_t multiple = k_windows_multiple;
    if (device.is_cuda()) multiple = std::max(multiple, std::bit_ceil(n) / (2 * k_windows_steps_gpu));
    return (n + multiple - 1) / multiple * multiple;
}

/// What the encoders of single sources are told of labelled sources.
class Placing {
public:
    /// @param q plain
    Placing(const Batch& batch, encoder::TilePosterior q, GivenAs given_as)
        : batch_{batch},
          q_{std::move(q)},
          given_as_{given_as},
          tiles_{batch.labels.count.numel() / batch.features.size(0)},
          side_{std::lround(std::sqrt(static_cast<double>(tiles_)))},
          tile_px_{static_cast<double>(batch.features.size(2) - 2 * tile::k_padding_px) / static_cast<double>(side_)} {}

    /// @param row of the source's tile in q
    [[nodiscard]] encoder::GivenSource given(const LabelledSource& s, std::int64_t row) const {
        const double ln_noise = batch_.ln_noise[static_cast<std::size_t>(s.image)];
        const std::int64_t in_image = s.tile % tiles_, count = batch_.labels.count.data_ptr<std::int64_t>()[s.tile];
        RandomStream random{batch_.range.seed, StreamPurpose::crop, batch_.range.step,
                            batch_.range.first_sample + static_cast<std::uint32_t>(s.image),
                            static_cast<std::uint32_t>(in_image * 4 + s.slot)};
        // Slots of several sources may stand for either: these are given as they are.
        const bool by_moments = given_as_ == GivenAs::mixed && random.uniform() < k_share_given_by_moments && count == 1;
        if (!by_moments) return {.x_px = s.x_px, .y_px = s.y_px, .ln_flux_above_noise = s.ln_flux_e - ln_noise};
        const encoder::SlotMoments of = encoder::slot_moments(q_, row, encoder::slot_index(1, 0));
        const auto px = [&](double in_tile, std::int64_t index) {
            return tile::k_padding_px + tile_px_ * (static_cast<double>(index) + in_tile) - 0.5;
        };
        return {.x_px = px(of.u.mean, in_image % side_),
                .y_px = px(of.v.mean, in_image / side_),
                .x_err_px = tile_px_ * of.u.sd,
                .y_err_px = tile_px_ * of.v.sd,
                .ln_flux_above_noise = of.ln_flux.mean - ln_noise,
                .ln_flux_err = of.ln_flux.sd};
    }

private:
    const Batch& batch_;
    encoder::TilePosterior q_;
    GivenAs given_as_;
    std::int64_t tiles_;
    std::int64_t side_;  ///< tiles along an image's side
    double tile_px_;
};

/// Pixels of images, and what is known of them.
struct Images {
    tile::PixelBlock pixels;
    std::vector<simulator::ImageTruth> truths;
};

/// Images whose pixels are made where the networks are: nothing of their size is copied.
Images make_there(const TrainingConfig& config, const simulator::GalaxyDecoder* decoder, const simulator::SampleRange& range,
                  std::int64_t images, c10::Device device) {
    const std::int64_t side = image_side_px(config);
    std::vector<simulator::ImagePlan> plans = simulator::plan_images(config.simulator, decoder, range, images, side, side);
    Images out{make_on_gpu(plans, range, side, device), {}};
    for (simulator::ImagePlan& plan : plans) out.truths.push_back(std::move(plan.truth));
    return out;
}

Images make_on_cores(const TrainingConfig& config, const simulator::GalaxyDecoder* decoder, const simulator::SampleRange& range,
                     std::int64_t images, c10::Device device) {
    const std::int64_t side = image_side_px(config);
    const at::Tensor electrons = torch::empty({images, side, side}), valid = torch::empty({images, side, side}, torch::kUInt8);
    std::vector<std::vector<simulator::ImageTruth>> truths(static_cast<std::size_t>(images));
    tile::for_each_on_one_thread(images, [&](std::int64_t k) {
        const simulator::SimulationTarget target{{electrons.data_ptr<float>() + k * side * side, 1, side, side},
                                                 valid.data_ptr<std::uint8_t>() + k * side * side};
        truths[static_cast<std::size_t>(k)] = simulator::simulate(config.simulator, decoder, range.from(k), target);
    });
    Images out{{electrons.to(device), {}, valid.to(device)}, {}};
    for (auto& of_image : truths) out.truths.push_back(std::move(of_image.front()));
    return out;
}

}  // namespace

bool makes_images_on(c10::Device device, const TrainingConfig& config) {
    return device.is_cuda() && simulator::gpu() >= 0 && device.index() == simulator::gpu() && simulator::makes_images(config.simulator);
}

Batch make_batch(const TrainingConfig& config, const simulator::GalaxyDecoder* decoder, const simulator::SampleRange& range,
                 std::int64_t images, c10::Device device) {
    Images made = (makes_images_on(device, config) ? make_there : make_on_cores)(config, decoder, range, images, device);
    Batch batch;
    batch.range = range;
    batch.compression_scale = config.encoder.compression_scales.front();
    batch.conditions = {torch::empty({images, encoder::k_condition_count}), torch::empty({images, 1}), {}};
    batch.psf_profiles = torch::empty({images, encoder::k_profile_length + 1});
    batch.psf_fwhm_px.resize(static_cast<std::size_t>(images));
    const at::Tensor filters = torch::empty({images, tile::k_filter_count, tile::k_filter_px, tile::k_filter_px});
    const at::Tensor background_e = torch::empty({images, 1, 1});
    tile::for_each_on_one_thread(images, [&](std::int64_t i) {
        const simulator::Conditions& conditions = made.truths[static_cast<std::size_t>(i)].conditions;
        background_e.data_ptr<float>()[i] = static_cast<float>(conditions.background_e);
        batch.psf_fwhm_px[static_cast<std::size_t>(i)] = conditions.psf.fwhm_px();
        batch.conditions.rate.data_ptr<float>()[i] = encoder::rate_conditioning(conditions.sources_per_tile);
        filters[i].copy_(tile::matched_filters(conditions.psf));
        const auto numbers = encoder::conditioning(conditions.psf, conditions.background_e);
        const auto profile = encoder::psf_profile(conditions.psf);
        std::copy(numbers.begin(), numbers.end(), batch.conditions.numbers.data_ptr<float>() + i * encoder::k_condition_count);
        std::copy(profile.begin(), profile.end(), batch.psf_profiles.data_ptr<float>() + i * (encoder::k_profile_length + 1));
    });
    batch.conditions.ln_noise = (0.5 * torch::log(background_e).squeeze(-1)).contiguous();
    batch.ln_noise.assign(batch.conditions.ln_noise.data_ptr<float>(), batch.conditions.ln_noise.data_ptr<float>() + images);
    made.pixels.background_e = background_e.to(device);
    batch.features = tile::features(made.pixels, filters.to(device), config.encoder.compression_scales);
    batch.conditions = batch.conditions.to(device);
    batch.psf_profiles = batch.psf_profiles.to(device);
    batch.labels = make_labels(made.truths, {.label_flux_min_e = config.simulator.prior.label_flux_min_e,
                                             .tiles_per_side = config.tiles_per_side,
                                             .tile_px = config.encoder.tile_px,
                                             .max_sources = config.encoder.max_sources,
                                             .latents = decoder ? static_cast<std::int64_t>(decoder->latents()) : 0});
    if (config.encoder.reach > 0) batch.context = contexts(batch.labels, config.encoder.reach, config.encoder.max_sources).to(device);
    return batch;
}

SourceBatch pick_sources(const Batch& batch, const encoder::TilePosterior& posterior, GivenAs given_as, std::size_t most_per_image) {
    SourceBatch out;
    std::vector<float> is_star, weight;
    const auto& labelled = batch.labels.sources;  // image by image
    for (std::size_t first = 0, last = 0; first < labelled.size(); first = last) {
        while (last < labelled.size() && labelled[last].image == labelled[first].image) ++last;
        const std::size_t n = last - first, picked = std::min(n, most_per_image);
        for (std::size_t k = 0; k < picked; ++k) {
            out.sources.push_back(first + k * n / picked);
            is_star.push_back(labelled[out.sources.back()].is_star ? 1.0f : 0.0f);
            weight.push_back(static_cast<float>(n) / static_cast<float>(picked));
        }
    }
    const std::size_t picked = out.sources.size();
    const c10::Device device = batch.features.device();
    out.is_star = torch::tensor(is_star).to(device);
    out.weight = torch::tensor(weight).to(device);
    std::vector<std::int64_t> which(out.sources.begin(), out.sources.end());
    if (batch.labels.shape_latents.defined())
        out.shape_latents = batch.labels.shape_latents.index_select(0, torch::tensor(which)).to(device);

    std::vector<std::int64_t> tiles;
    for (const std::size_t source : out.sources) tiles.push_back(labelled[source].tile);
    const Placing placing{batch, posterior.of(torch::tensor(tiles)).plain(), given_as};
    const std::size_t n = round_number_of_windows(picked, device);
    std::vector<std::int64_t> image(n), row(n), col(n);
    out.windows.given = torch::empty({static_cast<std::int64_t>(n), encoder::k_given_count});
    for (std::size_t k = 0; k < n; ++k) {
        const std::size_t which_picked = k < picked ? k : 0;
        const LabelledSource& source = labelled[out.sources[which_picked]];
        const encoder::GivenSource given = placing.given(source, static_cast<std::int64_t>(which_picked));
        image[k] = source.image;
        col[k] = std::lround(given.x_px);
        row[k] = std::lround(given.y_px);
        const auto numbers = encoder::given_numbers(given);
        std::copy(numbers.begin(), numbers.end(),
                  out.windows.given.data_ptr<float>() + static_cast<std::int64_t>(k) * encoder::k_given_count);
    }
    out.windows.features = tile::crops(batch.features, image, row, col, tile::k_padded_tile_px);
    out.windows.given = out.windows.given.to(device);
    out.windows.psf_index = torch::tensor(image).to(device);
    out.windows.conditions = batch.conditions.numbers.index_select(0, out.windows.psf_index);
    out.windows.psf_profiles = batch.psf_profiles;
    encoder::add_star_channels(out.windows, batch.compression_scale);
    return out;
}

double labelled_per_tile(const TrainingConfig& config) {
    const double side = static_cast<double>(config.encoder.tile_px) / static_cast<double>(simulator::k_rate_tile_px);
    return simulator::mean_rate(config.simulator.conditions) * side * side;
}

encoder::ModelCard make_card(const TrainingConfig& config, std::int64_t steps, const std::string& metrics_json) {
    const simulator::ConditionsConfig& conditions = config.simulator.conditions;
    const auto fwhm = [&](double sigma1, double sigma2, double b) {
        return survey::Psf({{1.0, sigma1}, {b * sigma2 * sigma2 / (sigma1 * sigma1) + 1e-9, sigma2}}).fwhm_px();
    };
    encoder::ModelCard card;
    card.sources_per_tile = simulator::mean_rate(conditions);
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
