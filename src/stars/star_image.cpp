#include "bliss/stars/star_image.hpp"

#include "bliss/core/check.hpp"
#include "parallel.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace bliss::stars {
namespace {

/// Steps of the profile in r^2, a pixel^2.
constexpr float k_profile_steps = 16;
/// Steps of the far profile in r, a pixel.
constexpr float k_far_profile_steps = 4;
/// Light of a star is drawn out to where it falls below this share of the noise of the frame's mean pixel, but at least so far.
constexpr double k_least_light = 0.05;
constexpr float k_least_reach_px = 2;
/// No pixel is expected to hold less than this share of its background.
constexpr float k_least_share = 0.5f;

/// Stars by bands of this many rows, each with all whose light comes within it.
/// @param reach_px of every star's light, or 0: each star's own
std::vector<std::vector<LitStar>> by_bands(std::span<const LitStar> stars, std::int64_t height, std::int64_t band_px, double reach_px) {
    const std::int64_t bands = (height + band_px - 1) / band_px;
    std::vector<std::vector<LitStar>> out(static_cast<std::size_t>(bands));
    for (const LitStar& lit : stars) {
        const auto band = [&](double y) { return static_cast<std::int64_t>(std::floor(y / static_cast<double>(band_px))); };
        const double reach = reach_px > 0 ? reach_px : static_cast<double>(lit.reach_px);
        const std::int64_t last = std::min(bands - 1, band(lit.star.y_px + reach));
        const std::int64_t first = std::max<std::int64_t>(0, band(lit.star.y_px - reach));
        for (std::int64_t k = first; k <= last; ++k) out[static_cast<std::size_t>(k)].push_back(lit);
    }
    return out;
}

/// An image that is linear between nodes. @param nodes (height / step + 2, width / step + 2), row by row
Image<float> between_nodes(std::span<const float> nodes, std::int64_t step, std::int64_t height, std::int64_t width) {
    Image<float> out{height, width};
    const std::int64_t cols = width / step + 2;
    const auto node = [&](std::int64_t row, std::int64_t col) { return nodes[static_cast<std::size_t>(row * cols + col)]; };
    for (std::int64_t row = 0; row < height; ++row) {
        const float down = static_cast<float>(row % step) / static_cast<float>(step);
        for (std::int64_t col = 0; col < width; ++col) {
            const float right = static_cast<float>(col % step) / static_cast<float>(step);
            const std::int64_t r = row / step, c = col / step;
            out(row, col) = (1 - down) * ((1 - right) * node(r, c) + right * node(r, c + 1)) +
                            down * ((1 - right) * node(r + 1, c) + right * node(r + 1, c + 1));
        }
    }
    return out;
}

/// x of A x = b, A symmetric and positive definite. @param a A, only below and on the diagonal
std::array<double, 3> solved(std::array<std::array<double, 3>, 3> a, std::array<double, 3> b) {
    for (std::size_t i = 0; i < 3; ++i) {   // a becomes its Cholesky factor L, and b the solution of L y = b
        for (std::size_t k = 0; k <= i; ++k) {
            for (std::size_t m = 0; m < k; ++m) a[i][k] -= a[i][m] * a[k][m];
            a[i][k] = i == k ? std::sqrt(a[i][i]) : a[i][k] / a[k][k];
            if (k < i) b[i] -= a[i][k] * b[k];
        }
        b[i] /= a[i][i];
    }
    for (std::size_t i = 3; i-- > 0;) {
        for (std::size_t m = i + 1; m < 3; ++m) b[i] -= a[m][i] * b[m];
        b[i] /= a[i][i];
    }
    return b;
}

}  // namespace

StarImage::StarImage(const survey::Frame& frame)
    : frame_{frame},
      background_e_{survey::median_background_e(frame)},
      wing_light_{frame.height(), frame.width()},
      expected_{frame.background_e},
      misfit_{frame.height(), frame.width()},
      precision_{frame.height(), frame.width()} {
    const auto steps = static_cast<int>(k_most_reach_px * k_most_reach_px * k_profile_steps);
    for (int k = 0; k <= steps; ++k) {
        profile_.push_back(static_cast<float>(frame.psf.value(std::sqrt(static_cast<double>(k) / k_profile_steps))));
    }
    for (int k = 0; k <= static_cast<int>(k_far_px * k_far_profile_steps) + 1; ++k) {
        far_profile_.push_back(static_cast<float>(frame.psf.value(static_cast<double>(k) / k_far_profile_steps)));
    }
    for (std::int64_t row = 0; row < frame.height(); ++row) weigh(row, 0, frame.width());
    noise_e_ = std::sqrt(mean_level(0, static_cast<double>(frame.width()), 0, static_cast<double>(frame.height())));
    psf_sigma_px_ = std::sqrt(frame.psf.noise_equivalent_area_px() / (4 * std::numbers::pi));
}

bool StarImage::Draft::open() {
    if (row_end_ <= row_begin_ || col_end_ <= col_begin_) {
        row_end_ = row_begin_;
        return false;
    }
    expected_.resize(static_cast<std::size_t>((row_end_ - row_begin_) * (col_end_ - col_begin_)));
    return true;
}

LitStar StarImage::lit(const Star& star) const {
    const double flux = std::exp(star.ln_flux_e);
    const auto least = static_cast<float>(k_least_light * noise_e_ / flux);
    const auto end = std::partition_point(profile_.begin(), profile_.end() - 1, [&](float value) { return value > least; });
    const float reach = std::sqrt(static_cast<float>(end - profile_.begin()) / k_profile_steps);
    return {star, static_cast<float>(flux), std::clamp(reach, k_least_reach_px, k_most_reach_px)};
}

void StarImage::add(const LitStar& lit, float sign, std::int64_t row, std::int64_t col_begin, std::int64_t col_end, float* out) const {
    const float dy = static_cast<float>(static_cast<double>(row) - lit.star.y_px), left = lit.reach_px * lit.reach_px - dy * dy;
    if (left < 0) return;
    const auto half = static_cast<double>(std::sqrt(left));
    const auto first = std::max(col_begin, static_cast<std::int64_t>(std::ceil(lit.star.x_px - half)));
    const auto last = std::min(col_end, static_cast<std::int64_t>(std::floor(lit.star.x_px + half)) + 1);
    if (last <= first) return;
    const float dy2 = dy * dy, flux = sign * lit.flux_e, shift = static_cast<float>(static_cast<double>(first) - lit.star.x_px);
    const float* const profile = profile_.data();
    const int most = static_cast<int>(profile_.size()) - 2, count = static_cast<int>(last - first);
    float* const pixels = out + (first - col_begin);
#pragma omp simd
    for (int k = 0; k < count; ++k) {
        const float dx = static_cast<float>(k) + shift, step = (dy2 + dx * dx) * k_profile_steps;
        const int at = static_cast<int>(step), below = at < most ? at : most;
        const float value = profile[below] + (step - static_cast<float>(below)) * (profile[below + 1] - profile[below]);
        pixels[k] += flux * value;
    }
}

double StarImage::log_ratio(std::span<const LitStar> without, std::span<const LitStar> with, Draft& draft) const {
    double top = 1e9, bottom = -1e9, left = 1e9, right = -1e9;
    for (const auto& list : {without, with}) {
        for (const LitStar& lit : list) {
            const auto reach = static_cast<double>(lit.reach_px);
            top = std::min(top, lit.star.y_px - reach);
            bottom = std::max(bottom, lit.star.y_px + reach);
            left = std::min(left, lit.star.x_px - reach);
            right = std::max(right, lit.star.x_px + reach);
        }
    }
    const auto begin = [](double at) { return std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(at))); };
    const auto end = [](double at, std::int64_t size) { return std::min(size, static_cast<std::int64_t>(std::floor(at)) + 1); };
    draft.row_begin_ = begin(top);
    draft.row_end_ = end(bottom, frame_.height());
    draft.col_begin_ = begin(left);
    draft.col_end_ = end(right, frame_.width());
    if (!draft.open()) return 0;
    const std::int64_t width = draft.col_end_ - draft.col_begin_;
    float* out = draft.expected_.data();
    for (std::int64_t row = draft.row_begin_; row < draft.row_end_; ++row, out += width) {
        std::copy_n(&expected_(row, draft.col_begin_), width, out);
        for (const LitStar& lit : without) add(lit, -1, row, draft.col_begin_, draft.col_end_, out);
        for (const LitStar& lit : with) add(lit, 1, row, draft.col_begin_, draft.col_end_, out);
    }
    return log_ratio_of(draft);
}

double StarImage::log_ratio_of_level(std::int64_t node_row, std::int64_t node_col, double more_e, Draft& draft) const {
    const std::int64_t row = node_row * k_node_px, col = node_col * k_node_px;
    draft.row_begin_ = std::max<std::int64_t>(0, row - k_node_px + 1);
    draft.row_end_ = std::min(frame_.height(), row + k_node_px);
    draft.col_begin_ = std::max<std::int64_t>(0, col - k_node_px + 1);
    draft.col_end_ = std::min(frame_.width(), col + k_node_px);
    if (!draft.open()) return 0;
    const std::int64_t width = draft.col_end_ - draft.col_begin_;
    const auto hat = [](std::int64_t distance) { return 1 - static_cast<float>(std::abs(distance)) / static_cast<float>(k_node_px); };
    float* out = draft.expected_.data();
    for (std::int64_t r = draft.row_begin_; r < draft.row_end_; ++r, out += width) {
        const float more = static_cast<float>(more_e) * hat(r - row);
        const float* const now = &expected_(r, draft.col_begin_);
        for (std::int64_t k = 0; k < width; ++k) out[k] = now[k] + more * hat(draft.col_begin_ + k - col);
    }
    return log_ratio_of(draft);
}

double StarImage::log_ratio_of(const Draft& draft) const {
    const auto width = static_cast<int>(draft.col_end_ - draft.col_begin_);
    const float* changed = draft.expected_.data();
    double chi2 = 0, log_variance = 0;
    for (std::int64_t row = draft.row_begin_; row < draft.row_end_; ++row, changed += width) {
        const float* const x = &frame_.electrons(row, draft.col_begin_);
        const float* const background = &frame_.background_e(row, draft.col_begin_);
        const std::uint8_t* const valid = &frame_.valid(row, draft.col_begin_);
        const float* const misfit = &misfit_(row, draft.col_begin_);
        const float* const precision = &precision_(row, draft.col_begin_);
        float sum = 0;
        double ratio = 1;   // of variances: their logarithm is taken once a row
#pragma omp simd reduction(+ : sum) reduction(* : ratio)
        for (int k = 0; k < width; ++k) {
            const float least = k_least_share * background[k], would = changed[k] > least ? changed[k] : least;
            const float light = k_psf_error * (would - background[k]), variance = would + light * light, off = x[k] - would;
            sum += valid[k] != 0 ? off * off / variance - misfit[k] : 0.0f;
            ratio *= static_cast<double>(valid[k] != 0 ? variance * precision[k] : 1.0f);
        }
        chi2 += static_cast<double>(sum);
        log_variance += std::log(ratio);
    }
    return -0.5 * (chi2 + log_variance);
}

void StarImage::weigh(std::int64_t row, std::int64_t col_begin, std::int64_t col_end) {
    const float* const x = &frame_.electrons(row, 0);
    const float* const background = &frame_.background_e(row, 0);
    const std::uint8_t* const valid = &frame_.valid(row, 0);
    const float* const expected = &expected_(row, 0);
    float* const misfit = &misfit_(row, 0);
    float* const precision = &precision_(row, 0);
#pragma omp simd
    for (std::int64_t k = col_begin; k < col_end; ++k) {
        const float least = k_least_share * background[k], is = expected[k] > least ? expected[k] : least;
        const float light = k_psf_error * (is - background[k]), off = x[k] - is;
        precision[k] = 1 / (is + light * light);
        misfit[k] = valid[k] != 0 ? off * off * precision[k] : 0.0f;
    }
}

Star StarImage::improved(const LitStar& lit) const {
    constexpr double k_most_px = 0.5, k_most_ln_flux = 0.5;
    /// Precisions of a prior of half a pixel and of one in ln flux: steps stay finite where no pixel says anything.
    constexpr std::array<double, 3> k_least_precision{4, 4, 1};
    const auto reach = static_cast<double>(lit.reach_px);
    const float reach2 = lit.reach_px * lit.reach_px;
    std::array<double, 3> slope{};                     // of the log likelihood by x, y and ln flux
    std::array<std::array<double, 3>, 3> precision{};  // their Fisher information, below and on the diagonal
    for (std::size_t i = 0; i < 3; ++i) precision[i][i] = k_least_precision[i];
    const std::int64_t row_begin = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(lit.star.y_px - reach)));
    const std::int64_t row_end = std::min(frame_.height(), static_cast<std::int64_t>(std::floor(lit.star.y_px + reach)) + 1);
    const std::int64_t col_begin = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(lit.star.x_px - reach)));
    const std::int64_t col_end = std::min(frame_.width(), static_cast<std::int64_t>(std::floor(lit.star.x_px + reach)) + 1);
    for (std::int64_t row = row_begin; row < row_end; ++row) {
        const auto dy = static_cast<float>(static_cast<double>(row) - lit.star.y_px);
        for (std::int64_t col = col_begin; col < col_end; ++col) {
            const auto dx = static_cast<float>(static_cast<double>(col) - lit.star.x_px);
            const float r2 = dx * dx + dy * dy;
            if (frame_.valid(row, col) == 0 || r2 > reach2) continue;
            const auto at = std::min(static_cast<std::size_t>(r2 * k_profile_steps), profile_.size() - 2);
            const float rise = profile_[at + 1] - profile_[at],
                        value = profile_[at] + (r2 * k_profile_steps - static_cast<float>(at)) * rise;
            const float by_px = -2 * k_profile_steps * rise * lit.flux_e;
            const std::array<double, 3> by{static_cast<double>(by_px * dx), static_cast<double>(by_px * dy),
                                           static_cast<double>(value * lit.flux_e)};
            const auto weight = static_cast<double>(precision_(row, col)),
                       off = static_cast<double>(frame_.electrons(row, col) - expected_(row, col));
            for (std::size_t i = 0; i < 3; ++i) {
                slope[i] += weight * off * by[i];
                for (std::size_t k = 0; k <= i; ++k) precision[i][k] += weight * by[i] * by[k];
            }
        }
    }
    const std::array<double, 3> step = solved(precision, slope);
    return {lit.star.x_px + std::clamp(step[0], -k_most_px, k_most_px), lit.star.y_px + std::clamp(step[1], -k_most_px, k_most_px),
            lit.star.ln_flux_e + std::clamp(step[2], -k_most_ln_flux, k_most_ln_flux)};
}

void StarImage::take(const Draft& draft) {
    const std::int64_t width = draft.col_end_ - draft.col_begin_;
    const float* changed = draft.expected_.data();
    for (std::int64_t row = draft.row_begin_; row < draft.row_end_; ++row, changed += width) {
        std::copy_n(changed, width, &expected_(row, draft.col_begin_));
        weigh(row, draft.col_begin_, draft.col_end_);
    }
}

void StarImage::render(std::span<const LitStar> stars, std::span<const float> levels_e) {
    expected_ = diffuse(levels_e);
    const Image<float> far = far_light(stars);
    if (wings_) {
        wing_light_ = Image<float>{frame_.height(), frame_.width()};
        wings_->add(stars, wing_light_);
    }
    const auto of_band = by_bands(stars, frame_.height(), k_node_px, 0);
    parallel_for(frame_.height(), [&](std::int64_t row) {
        float* const out = &expected_(row, 0);
        for (std::int64_t col = 0; col < frame_.width(); ++col)
            out[col] += frame_.background_e(row, col) + far(row, col) + wing_light_(row, col);
        for (const LitStar& lit : of_band[static_cast<std::size_t>(row / k_node_px)]) add(lit, 1, row, 0, frame_.width(), out);
        weigh(row, 0, frame_.width());
    });
}

void StarImage::fit_wings(std::span<const LitStar> stars) {
    Image<float> rest{frame_.height(), frame_.width()}, precision{frame_.height(), frame_.width()};
    double chi2 = 0, valid = 0;
    for (std::int64_t k = 0; k < rest.size(); ++k) {
        if (frame_.valid.data()[k] == 0) continue;
        rest.data()[k] = frame_.electrons.data()[k] - expected_.data()[k] + wing_light_.data()[k];
        chi2 += static_cast<double>(misfit_.data()[k]);
        valid += 1;
    }
    // Stars that are not in the image yet are noise to the wings.
    const auto factor = static_cast<float>(1 / std::max(1.0, valid > 0 ? chi2 / valid : 1.0));
    for (std::int64_t k = 0; k < rest.size(); ++k) precision.data()[k] = frame_.valid.data()[k] != 0 ? factor * precision_.data()[k] : 0.0f;
    if (!wings_) wings_.emplace(psf_sigma_px_, noise_e_);
    wings_->fit(stars, rest, precision);
}

Image<float> StarImage::far_light(std::span<const LitStar> stars) const {
    const std::int64_t rows = frame_.height() / k_far_step_px + 2, cols = frame_.width() / k_far_step_px + 2;
    const auto of_band = by_bands(stars, rows * k_far_step_px, k_far_step_px, static_cast<double>(k_far_px));
    std::vector<float> nodes(static_cast<std::size_t>(rows * cols));
    parallel_for(rows, [&](std::int64_t row) {
        for (const LitStar& lit : of_band[static_cast<std::size_t>(row)]) {
            const double dy = static_cast<double>(row * k_far_step_px) - lit.star.y_px;
            constexpr auto reach = static_cast<double>(k_far_px), step = static_cast<double>(k_far_step_px);
            const auto first = static_cast<std::int64_t>(std::ceil((lit.star.x_px - reach) / step));
            const auto last = static_cast<std::int64_t>(std::floor((lit.star.x_px + reach) / step));
            for (std::int64_t col = std::max<std::int64_t>(0, first); col <= std::min(cols - 1, last); ++col) {
                const auto r = static_cast<float>(std::hypot(static_cast<double>(col * k_far_step_px) - lit.star.x_px, dy));
                if (r <= lit.reach_px || r > static_cast<float>(k_far_px)) continue;
                nodes[static_cast<std::size_t>(row * cols + col)] +=
                    lit.flux_e * far_profile_[static_cast<std::size_t>(r * k_far_profile_steps)];
            }
        }
    });
    return between_nodes(nodes, k_far_step_px, frame_.height(), frame_.width());
}

Image<float> StarImage::diffuse(std::span<const float> levels_e) const {
    BLISS_EXPECT(std::ssize(levels_e) == node_rows() * node_cols(), "there is one level a node");
    return between_nodes(levels_e, k_node_px, frame_.height(), frame_.width());
}

double StarImage::mean_level(double x_begin, double x_end, double y_begin, double y_end) const {
    const auto pixel = [](double at, std::int64_t size) { return std::clamp<std::int64_t>(std::lround(at), 0, size); };
    double sum = 0, pixels = 0;
    for (std::int64_t row = pixel(y_begin, frame_.height()); row < pixel(y_end, frame_.height()); ++row) {
        for (std::int64_t col = pixel(x_begin, frame_.width()); col < pixel(x_end, frame_.width()); ++col) {
            if (frame_.valid(row, col) == 0) continue;
            sum += static_cast<double>(frame_.electrons(row, col));
            pixels += 1;
        }
    }
    return pixels > 0 ? std::max(sum / pixels, background_e_) : background_e_;
}

}  // namespace bliss::stars
