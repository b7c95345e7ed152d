#include "bliss/tile/features.hpp"

#include "bliss/tile/fast_asinh.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bliss::tile {

namespace {

/// Widths of the Gaussians that stand for a star and for galaxies, pixels.
constexpr double k_filter_sigmas_px[k_filter_count] = {0, 1.5, 3.5};
/// No pixel of any image is farther from the background, in units of the noise; keeps what follows finite.
constexpr double k_u_limit = 1e6;
/// Rows computed at once: they stay in the processor's cache.
constexpr std::int64_t k_rows_at_once = 32;

/// (x - gamma) / sqrt(gamma), 0 where it is not valid.
at::Tensor in_noise(const at::Tensor& electrons, const at::Tensor& gamma, const at::Tensor& valid) {
    return (electrons - gamma).mul_(gamma.rsqrt()).clamp_(-k_u_limit, k_u_limit).mul_(valid);
}

}  // namespace

at::Tensor matched_filters(const survey::Psf& psf) {
    at::Tensor filters = torch::empty({k_filter_count, k_filter_px, k_filter_px});
    auto at = filters.accessor<float, 3>();
    for (std::int64_t k = 0; k < k_filter_count; ++k) {
        const survey::Psf profile = psf.convolved(k_filter_sigmas_px[k]);
        for (std::int64_t row = 0; row < k_filter_px; ++row) {
            for (std::int64_t col = 0; col < k_filter_px; ++col) {
                const double dy = static_cast<double>(row - k_filter_px / 2), dx = static_cast<double>(col - k_filter_px / 2);
                at[k][row][col] = static_cast<float>(profile.value(std::hypot(dx, dy)));
            }
        }
    }
    return filters / filters.square().sum({1, 2}, true).sqrt();
}

at::Tensor features(const PixelBlock& pixels, const at::Tensor& filters, const std::vector<double>& compression_scales) {
    if (pixels.electrons.is_cuda()) return features_together(pixels, filters, compression_scales);
    const std::int64_t images = pixels.electrons.size(0), height = pixels.electrons.size(1), width = pixels.electrons.size(2);
    const auto scales = static_cast<std::int64_t>(compression_scales.size());
    constexpr std::int64_t reach = k_filter_px / 2;
    const at::Tensor background = pixels.background_e.expand({images, height, -1});
    at::Tensor out = torch::empty({images, feature_count(compression_scales.size()), height, width},
                                  pixels.electrons.options().memory_format(torch::MemoryFormat::ChannelsLast));
    const std::int64_t pieces = (height + k_rows_at_once - 1) / k_rows_at_once;
    for_each_on_one_thread(images * pieces, [&](std::int64_t k) {
        const std::int64_t image = k / pieces, first = k % pieces * k_rows_at_once, last = std::min(height, first + k_rows_at_once);
        const std::int64_t from = std::max<std::int64_t>(0, first - reach), to = std::min(height, last + reach);
        const auto rows = [&](const at::Tensor& of) { return of[image].slice(0, from, to); };
        const at::Tensor valid = rows(pixels.valid).to(torch::kFloat);
        const at::Tensor u = in_noise(rows(pixels.electrons), rows(background), valid);  // (rows, W)
        const at::Tensor channels = out[image].slice(1, first, last);                    // (C, rows, W)
        for (std::int64_t c = 0; c < scales; ++c) {
            channels[c].copy_(fast_asinh(u.slice(0, first - from, last - from) / compression_scales[static_cast<std::size_t>(c)]));
        }
        const at::Tensor around = torch::constant_pad_nd(u, {reach, reach, reach - (first - from), reach - (to - last)});
        const at::Tensor filtered = torch::conv2d(around.unsqueeze(0).unsqueeze(0), filters[image].unsqueeze(1))[0];  // (F, rows, W)
        channels.slice(0, scales, scales + k_filter_count).copy_(fast_asinh(filtered / k_filtered_scale));
        channels[scales + k_filter_count].copy_(valid.slice(0, first - from, last - from));
    });
    return out;
}

at::Tensor features_together(const PixelBlock& pixels, const at::Tensor& filters, const std::vector<double>& compression_scales) {
    const torch::NoGradGuard no_grad;
    const std::int64_t images = pixels.electrons.size(0);
    const at::Tensor valid = pixels.valid.to(torch::kFloat);
    const at::Tensor u = in_noise(pixels.electrons, pixels.background_e, valid);  // (B, H, W)
    // One group of filters an image.
    const at::Tensor filtered =
        torch::conv2d(u.unsqueeze(0), filters.flatten(0, 1).unsqueeze(1), {}, 1, k_filter_px / 2, 1, images)[0].unflatten(0, {images, -1});
    std::vector<at::Tensor> channels;
    for (const double scale : compression_scales) channels.push_back(fast_asinh(u / scale).unsqueeze(1));
    channels.push_back(fast_asinh(filtered / k_filtered_scale));
    channels.push_back(valid.unsqueeze(1));
    return torch::cat(channels, 1).contiguous(torch::MemoryFormat::ChannelsLast);
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

PixelBlock padded_frame(const survey::Frame& frame, c10::Device device) {
    if (!device.is_cpu()) return padded_frame_there(frame, device);
    return padded_rows(frame, 0, TileGrid{frame.height(), frame.width()}.rows() * k_tile_px);
}

PixelBlock padded_frame_there(const survey::Frame& frame, c10::Device device) {
    const TileGrid grid{frame.height(), frame.width()};
    const std::int64_t rows = grid.rows() * k_tile_px, cols = grid.cols() * k_tile_px;
    const auto padded = [&]<class T>(const Image<T>& image, double outside) {
        auto* const pixels = const_cast<T*>(image.data());  // only copied from
        const std::int64_t height = image.height(), width = image.width();
        const at::Tensor there = torch::from_blob(pixels, {1, height, width}, torch::CppTypeToScalarType<T>::value).to(device);
        const std::int64_t right = k_padding_px + cols - width, below = k_padding_px + rows - height;
        return torch::constant_pad_nd(there, {k_padding_px, right, k_padding_px, below}, outside);
    };
    PixelBlock block{padded(frame.electrons, 0), padded(frame.background_e, 1), padded(frame.valid, 0)};
    block.electrons = torch::where(block.valid.to(torch::kBool), block.electrons, block.background_e);
    return block;
}

at::Tensor crops_by_index(const at::Tensor& channels, const std::vector<std::int64_t>& image, const std::vector<std::int64_t>& centre_row,
                          const std::vector<std::int64_t>& centre_col, std::int64_t side) {
    // A border of zeros is what every index off the image is clamped to.
    const at::Tensor pixels = torch::constant_pad_nd(channels, {1, 1, 1, 1}).permute({0, 2, 3, 1});  // (B, H + 2, W + 2, C)
    const auto on_device = [&](const std::vector<std::int64_t>& list) { return torch::tensor(list).to(channels.device()); };
    const at::Tensor along = torch::arange(side, torch::TensorOptions().dtype(torch::kLong).device(channels.device())) - side / 2 + 1;
    const at::Tensor rows = (on_device(centre_row).unsqueeze(1) + along).clamp(0, pixels.size(1) - 1);  // (n, side)
    const at::Tensor cols = (on_device(centre_col).unsqueeze(1) + along).clamp(0, pixels.size(2) - 1);
    using torch::indexing::TensorIndex;
    return pixels.index({TensorIndex(on_device(image).view({-1, 1, 1})), TensorIndex(rows.unsqueeze(2)), TensorIndex(cols.unsqueeze(1))})
        .permute({0, 3, 1, 2});
}

at::Tensor crops(const at::Tensor& channels, const std::vector<std::int64_t>& image,
                 const std::vector<std::int64_t>& centre_row, const std::vector<std::int64_t>& centre_col, std::int64_t side) {
    if (channels.is_cuda()) return crops_by_index(channels, image, centre_row, centre_col, side);
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
