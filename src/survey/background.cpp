#include "background.hpp"

#include "bliss/core/error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace bliss::survey {
namespace {

constexpr float k_missing = std::numeric_limits<float>::quiet_NaN();

float median_of(std::vector<float>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// Median after dropping, again and again, what lies more than 3 robust standard deviations from it.
float clipped_median(std::vector<float> values) {
    constexpr int k_rounds = 10;
    constexpr float k_clip = 3;
    constexpr float k_sigma_per_mad = 1.4826F;
    float median = median_of(values);
    std::vector<float> distances;
    for (int round = 0; round < k_rounds; ++round) {
        distances.clear();
        for (const float value : values) distances.push_back(std::abs(value - median));
        const float limit = k_clip * k_sigma_per_mad * median_of(distances);
        const std::size_t before = values.size();
        std::erase_if(values, [&](float value) { return std::abs(value - median) > limit; });
        if (values.size() == before) break;
        median = median_of(values);
    }
    return median;
}

/// One level for each box, NaN for a box with too few valid pixels.
Image<float> box_levels(const Image<float>& image, const Image<std::uint8_t>& valid, std::int64_t rows, std::int64_t cols) {
    constexpr double k_least_share = 0.1;
    Image<float> levels(rows, cols, k_missing);
    std::vector<float> values;
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) {
            const std::int64_t row_begin = i * image.height() / rows;
            const std::int64_t row_end = (i + 1) * image.height() / rows;
            const std::int64_t col_begin = j * image.width() / cols;
            const std::int64_t col_end = (j + 1) * image.width() / cols;
            values.clear();
            for (std::int64_t row = row_begin; row < row_end; ++row) {
                for (std::int64_t col = col_begin; col < col_end; ++col) {
                    if (valid(row, col) != 0) values.push_back(image(row, col));
                }
            }
            const auto area = static_cast<double>((row_end - row_begin) * (col_end - col_begin));
            if (!values.empty() && static_cast<double>(values.size()) >= k_least_share * area) {
                levels(i, j) = clipped_median(values);
            }
        }
    }
    return levels;
}

/// Fills missing boxes from the filled ones next to them, ring by ring.
void fill_missing(Image<float>& levels) {
    const auto missing = [](float level) { return std::isnan(level); };
    const auto pixels = levels.pixels();
    if (std::all_of(pixels.begin(), pixels.end(), missing)) {
        throw DataError("estimating the background: no part of the image has enough valid pixels; give a background value");
    }
    while (std::any_of(pixels.begin(), pixels.end(), missing)) {
        const Image<float> known = levels;
        for (std::int64_t i = 0; i < levels.height(); ++i) {
            for (std::int64_t j = 0; j < levels.width(); ++j) {
                if (!missing(known(i, j))) continue;
                float sum = 0;
                int count = 0;
                for (std::int64_t a = std::max<std::int64_t>(i - 1, 0); a <= std::min(i + 1, levels.height() - 1); ++a) {
                    for (std::int64_t b = std::max<std::int64_t>(j - 1, 0); b <= std::min(j + 1, levels.width() - 1); ++b) {
                        if (missing(known(a, b))) continue;
                        sum += known(a, b);
                        ++count;
                    }
                }
                if (count > 0) levels(i, j) = sum / static_cast<float>(count);
            }
        }
    }
}

struct MeshPoint {
    std::int64_t low = 0;
    std::int64_t high = 0;
    float high_share = 0;
};

/// Where pixel `index` of `pixels` lies between the centres of `boxes` equal boxes.
MeshPoint mesh_point(std::int64_t index, std::int64_t pixels, std::int64_t boxes) {
    const double position =
        (static_cast<double>(index) + 0.5) * static_cast<double>(boxes) / static_cast<double>(pixels) - 0.5;
    const double clipped = std::clamp(position, 0.0, static_cast<double>(boxes - 1));
    const auto low = static_cast<std::int64_t>(clipped);
    return {low, std::min(low + 1, boxes - 1), static_cast<float>(clipped - static_cast<double>(low))};
}

std::int64_t box_count(std::int64_t pixels, std::int64_t box_px) {
    return std::max<std::int64_t>(1, (pixels + box_px / 2) / box_px);
}

}  // namespace

Image<float> estimate_background(const Image<float>& image, const Image<std::uint8_t>& valid, std::int64_t box_px) {
    const std::int64_t rows = box_count(image.height(), box_px);
    const std::int64_t cols = box_count(image.width(), box_px);
    Image<float> levels = box_levels(image, valid, rows, cols);
    fill_missing(levels);
    std::vector<MeshPoint> columns;
    for (std::int64_t col = 0; col < image.width(); ++col) columns.push_back(mesh_point(col, image.width(), cols));
    Image<float> background(image.height(), image.width());
    for (std::int64_t row = 0; row < image.height(); ++row) {
        const auto v = mesh_point(row, image.height(), rows);
        for (std::int64_t col = 0; col < image.width(); ++col) {
            const auto& u = columns[static_cast<std::size_t>(col)];
            const float below = levels(v.low, u.low) + u.high_share * (levels(v.low, u.high) - levels(v.low, u.low));
            const float above = levels(v.high, u.low) + u.high_share * (levels(v.high, u.high) - levels(v.high, u.low));
            background(row, col) = below + v.high_share * (above - below);
        }
    }
    return background;
}

}  // namespace bliss::survey
