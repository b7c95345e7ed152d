#include "bliss/tile/features.hpp"

#include "bliss/tile/grid.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cstring>

namespace bliss::tile {

at::Tensor features(const PixelBlock& pixels, const std::vector<double>& compression_scales) {
    const at::Tensor valid = pixels.valid.to(torch::kFloat);                                            // (B, H, W)
    const at::Tensor u = (pixels.electrons - pixels.background_e) * pixels.background_e.rsqrt() * valid;  // (B, H, W)
    const auto scales = static_cast<std::int64_t>(compression_scales.size());
    at::Tensor out = torch::empty({u.size(0), scales + 1, u.size(1), u.size(2)},
                                  torch::TensorOptions().dtype(torch::kFloat).memory_format(torch::MemoryFormat::ChannelsLast));
    for (std::int64_t c = 0; c < scales; ++c) {
        out.select(1, c).copy_(torch::asinh(u / compression_scales[static_cast<std::size_t>(c)]));
    }
    out.select(1, scales).copy_(valid);
    return out;
}

PixelBlock padded_rows(const survey::Frame& frame, std::int64_t row_begin, std::int64_t row_end) {
    const TileGrid grid{frame.height(), frame.width()};
    const std::int64_t height = row_end - row_begin + 2 * k_padding_px;
    const std::int64_t width = grid.cols() * k_tile_px + 2 * k_padding_px;
    PixelBlock block{torch::zeros({1, height, width}), torch::ones({1, height, width}),
                     torch::zeros({1, height, width}, torch::kUInt8)};
    for (std::int64_t row = 0; row < height; ++row) {
        const std::int64_t from = row_begin - k_padding_px + row;
        if (from < 0 || from >= frame.height()) continue;
        const std::int64_t to = row * width + k_padding_px;
        const auto count = static_cast<std::size_t>(frame.width());
        std::memcpy(block.electrons.data_ptr<float>() + to, &frame.electrons(from, 0), count * sizeof(float));
        std::memcpy(block.background_e.data_ptr<float>() + to, &frame.background_e(from, 0), count * sizeof(float));
        std::memcpy(block.valid.data_ptr<std::uint8_t>() + to, &frame.valid(from, 0), count);
    }
    // A pixel that is not valid may hold NaN; the channels multiply by validity, so it must be a number.
    block.electrons = torch::where(block.valid.to(torch::kBool), block.electrons, block.background_e);
    return block;
}

at::Tensor crops(const at::Tensor& channels, const std::vector<std::int64_t>& image,
                 const std::vector<std::int64_t>& centre_row, const std::vector<std::int64_t>& centre_col, std::int64_t side) {
    const std::int64_t height = channels.size(2);
    const std::int64_t width = channels.size(3);
    const auto n = static_cast<std::int64_t>(image.size());
    at::Tensor out = torch::zeros({n, channels.size(1), side, side},
                                  channels.options().memory_format(torch::MemoryFormat::ChannelsLast));
    for (std::int64_t i = 0; i < n; ++i) {
        const auto k = static_cast<std::size_t>(i);
        const std::int64_t top = centre_row[k] - side / 2;
        const std::int64_t left = centre_col[k] - side / 2;
        const std::int64_t row_begin = std::max<std::int64_t>(0, top);
        const std::int64_t row_end = std::min(height, top + side);
        const std::int64_t col_begin = std::max<std::int64_t>(0, left);
        const std::int64_t col_end = std::min(width, left + side);
        if (row_begin >= row_end || col_begin >= col_end) continue;
        out[i].slice(1, row_begin - top, row_end - top)
            .slice(2, col_begin - left, col_end - left)
            .copy_(channels[image[k]].slice(1, row_begin, row_end).slice(2, col_begin, col_end));
    }
    return out;
}

}  // namespace bliss::tile
