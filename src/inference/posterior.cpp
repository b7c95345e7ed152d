#include "bliss/inference/posterior.hpp"

#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"
#include "bliss/tile/seen_tiles.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <future>

namespace bliss::inference {
namespace {

/// Tile rows of one strip. Strips overlap by the padding, so few are better; more rows than this only cost memory. A GPU takes more.
constexpr std::int64_t k_strip_tile_rows = 64, k_strip_tile_rows_gpu = 512;
/// Padded tiles of one batch of the oracle.
constexpr std::int64_t k_padded_tiles_per_batch = 512;
/// Tiles the head is asked about at once: on a processor their numbers stay in the cache, on a GPU they are few launches.
constexpr std::int64_t k_tiles_per_batch = 1024, k_tiles_per_batch_gpu = 65536;

}  // namespace

FrameInput prepare(const survey::Frame& frame, const encoder::EncoderConfig& config, c10::Device device) {
    FrameInput input;
    // While a GPU is given the frame, cores count; where these make the features themselves, they count afterwards.
    const auto when = device.is_cpu() ? std::launch::deferred : std::launch::async;
    auto seen = std::async(when, [&] { return tile::seen_tiles(frame.valid, config.tile_px); });
    auto background_e = std::async(when, [&] { return survey::median_background_e(frame); });
    input.features = tile::features(tile::padded_frame(frame, device), tile::matched_filters(frame.psf).unsqueeze(0).to(device),
                                    config.compression_scales);
    input.seen = seen.get();
    input.background_e = background_e.get();
    const auto numbers = encoder::conditioning(frame.psf, input.background_e);
    const encoder::ImageConditions conditions{torch::tensor(std::vector<float>(numbers.begin(), numbers.end())).unsqueeze(0),
                                              {},
                                              torch::full({1, 1}, 0.5 * std::log(input.background_e))};
    input.conditions = conditions.to(device);
    return input;
}

at::Tensor trunk_dense(encoder::DetectionEncoder& network, const FrameInput& input) {
    const std::int64_t rows = (input.features.size(2) - 2 * tile::k_padding_px) / tile::k_tile_px;
    const std::int64_t at_once = input.features.is_cuda() ? k_strip_tile_rows_gpu : k_strip_tile_rows;
    const std::int64_t count = (rows + at_once - 1) / at_once;
    std::vector<at::Tensor> strips(static_cast<std::size_t>(count));
    tile::for_each_on_one_thread(count, [&](std::int64_t k) {
        const std::int64_t row = k * at_once;
        const std::int64_t end = std::min(rows, row + at_once);
        const at::Tensor strip = input.features.slice(2, row * tile::k_tile_px, end * tile::k_tile_px + 2 * tile::k_padding_px);
        strips[static_cast<std::size_t>(k)] = network->trunk(strip, input.conditions)[0];
    });
    return torch::cat(strips, 0);
}

at::Tensor trunk_tiled(encoder::DetectionEncoder& network, const FrameInput& input, const std::vector<std::int64_t>& cells) {
    const torch::NoGradGuard no_grad;
    const std::int64_t cols = (input.features.size(3) - 2 * tile::k_padding_px) / tile::k_tile_px;
    std::vector<at::Tensor> outputs;
    for (std::size_t first = 0; first < cells.size(); first += k_padded_tiles_per_batch) {
        const std::size_t last = std::min(cells.size(), first + k_padded_tiles_per_batch);
        std::vector<std::int64_t> image(last - first, 0), row, col;
        for (std::size_t k = first; k < last; ++k) {
            row.push_back(cells[k] / cols * tile::k_tile_px + tile::k_padded_tile_px / 2);
            col.push_back(cells[k] % cols * tile::k_tile_px + tile::k_padded_tile_px / 2);
        }
        const at::Tensor padded_tiles = tile::crops(input.features, image, row, col, tile::k_padded_tile_px);
        outputs.push_back(network->trunk(padded_tiles, input.conditions.repeated(std::ssize(image))));
    }
    return torch::cat(outputs, 0);
}

encoder::TilePosterior ask_head(encoder::DetectionEncoder& network, const at::Tensor& tiles, const at::Tensor& context,
                                const encoder::ImageConditions& conditions) {
    const std::int64_t at_once = tiles.is_cuda() ? k_tiles_per_batch_gpu : k_tiles_per_batch;
    const std::int64_t n = tiles.size(0), batches = (n + at_once - 1) / at_once;
    std::vector<encoder::TilePosterior> parts(static_cast<std::size_t>(batches));
    tile::for_each_on_one_thread(batches, [&](std::int64_t k) {
        const std::int64_t first = k * at_once, last = std::min(n, first + at_once);
        const at::Tensor told = context.defined() ? context.slice(0, first, last).unsqueeze(0) : at::Tensor{};
        parts[static_cast<std::size_t>(k)] =
            network->posterior(network->head(tiles.slice(0, first, last).unsqueeze(0), told, conditions), conditions);
    });
    const auto all = [&](at::Tensor encoder::TilePosterior::*member) {
        std::vector<at::Tensor> list;
        for (const auto& part : parts) list.push_back(part.*member);
        return torch::cat(list, 0);
    };
    using Q = encoder::TilePosterior;
    return {all(&Q::count_logits), all(&Q::log_weight), all(&Q::u_mean), all(&Q::u_sd), all(&Q::v_mean), all(&Q::v_sd),
            all(&Q::ln_flux_mean), all(&Q::ln_flux_sd), parts.front().ln_flux_low};
}

}  // namespace bliss::inference
