#include "bliss/inference/posterior.hpp"

#include "bliss/tile/features.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::inference {
namespace {

/// Tile rows of one strip. Strips overlap by the padding, so few are better; more rows than this only cost memory.
constexpr std::int64_t k_strip_tile_rows = 64;
/// Padded tiles of one batch of the oracle.
constexpr std::int64_t k_tiles_per_batch = 512;

}  // namespace

FrameInput prepare(const survey::Frame& frame, const encoder::EncoderConfig& config, double sources_per_tile) {
    const tile::TileGrid grid{frame.height(), frame.width()};
    const double background = survey::median_background_e(frame);
    const auto numbers = encoder::conditioning(frame.psf, background);
    FrameInput input;
    input.features = tile::features(tile::padded_rows(frame, 0, grid.rows() * tile::k_tile_px),
                                    tile::matched_filters(frame.psf).unsqueeze(0), config.compression_scales);
    input.conditions = {torch::tensor(std::vector<float>(numbers.begin(), numbers.end())).unsqueeze(0),
                        torch::full({1, 1}, encoder::rate_conditioning(sources_per_tile)),
                        torch::full({1, 1, 1, 1}, 0.5 * std::log(background))};
    return input;
}

at::Tensor detect_dense(encoder::DetectionEncoder& network, const FrameInput& input) {
    const torch::NoGradGuard no_grad;
    const std::int64_t rows = (input.features.size(2) - 2 * tile::k_padding_px) / tile::k_tile_px;
    const std::int64_t count = (rows + k_strip_tile_rows - 1) / k_strip_tile_rows;
    std::vector<at::Tensor> strips(static_cast<std::size_t>(count));
    tile::for_each_on_one_thread(count, [&](std::int64_t k) {
        const std::int64_t row = k * k_strip_tile_rows;
        const std::int64_t end = std::min(rows, row + k_strip_tile_rows);
        const at::Tensor strip = input.features.slice(2, row * tile::k_tile_px, end * tile::k_tile_px + 2 * tile::k_padding_px);
        strips[static_cast<std::size_t>(k)] = network->forward(strip, input.conditions);
    });
    return torch::cat(strips, 2);
}

at::Tensor detect_tiled(encoder::DetectionEncoder& network, const FrameInput& input, const std::vector<std::int64_t>& tiles) {
    const torch::NoGradGuard no_grad;
    const std::int64_t cols = (input.features.size(3) - 2 * tile::k_padding_px) / tile::k_tile_px;
    std::vector<at::Tensor> outputs;
    for (std::size_t first = 0; first < tiles.size(); first += k_tiles_per_batch) {
        const std::size_t last = std::min(tiles.size(), first + k_tiles_per_batch);
        std::vector<std::int64_t> image(last - first, 0), row, col;
        for (std::size_t k = first; k < last; ++k) {
            row.push_back(tiles[k] / cols * tile::k_tile_px + tile::k_padded_tile_px / 2);
            col.push_back(tiles[k] % cols * tile::k_tile_px + tile::k_padded_tile_px / 2);
        }
        const at::Tensor padded_tiles = tile::crops(input.features, image, row, col, tile::k_padded_tile_px);
        const auto n = static_cast<std::int64_t>(last - first);
        outputs.push_back(network->forward(padded_tiles, input.conditions.repeated(n)));  // (n, K, 1, 1)
    }
    return torch::cat(outputs, 0).squeeze(-1).permute({2, 1, 0}).unsqueeze(2);
}

at::Tensor retarget_rate(const at::Tensor& count_logits, double rate_ratio) {
    const at::Tensor n = torch::arange(count_logits.size(1), torch::kFloat).view({1, -1, 1, 1});
    return count_logits + n * std::log(rate_ratio);
}

}  // namespace bliss::inference
