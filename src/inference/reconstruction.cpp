#include "bliss/inference/reconstruction.hpp"

#include "bliss/core/check.hpp"
#include "bliss/core/statistics.hpp"
#include "bliss/inference/render.hpp"
#include "bliss/tile/grid.hpp"
#include "bliss/tile/one_thread.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bliss::inference {
namespace {

/// Most draws looked at, and the most pixels of all of them together.
constexpr std::int64_t k_most_draws = 32, k_most_pixels = 100'000'000;
/// What lies so far from a source is looked at for light that is not its own.
constexpr double k_surroundings_px = 12;
/// Light of a cell this far from what is expected is unexplained, in standard deviations; cells with fewer valid pixels say nothing.
constexpr double k_unexplained_sigma = 5;
constexpr std::int64_t k_least_pixels_of_cell = 8;

/// Calls `visit(pixel)` for the pixels of the frame within a radius.
template <class Visit>
void for_each_pixel_within(const survey::Frame& frame, double x_px, double y_px, double radius_px, const Visit& visit) {
    const auto first = [&](double at) { return std::max<std::int64_t>(0, std::lround(std::ceil(at - radius_px))); };
    const auto last = [&](double at, std::int64_t side) { return std::min(side - 1, std::lround(std::floor(at + radius_px))); };
    for (std::int64_t row = first(y_px); row <= last(y_px, frame.height()); ++row) {
        for (std::int64_t col = first(x_px); col <= last(x_px, frame.width()); ++col) {
            if (std::hypot(static_cast<double>(col) - x_px, static_cast<double>(row) - y_px) <= radius_px) visit(row * frame.width() + col);
        }
    }
}

}  // namespace

/// Sums over pixels that the fit is judged by.
class Reconstruction::Sums {
public:
    explicit Sums(const Reconstruction& of)
        : of_{of}, draws_{static_cast<double>(of.draws_.size())}, widening_{std::sqrt((draws_ + 1) / std::max(1.0, draws_ - 1))},
          mean_(of.draws_.size()), variance_(of.draws_.size()), light_(of.draws_.size()) {}

    /// @param pixel its place in the images, row by row
    void add(std::int64_t pixel) {
        const survey::Frame& frame = of_.frame_;
        if (!frame.valid.data()[pixel]) return;
        const double background = frame.background_e.data()[pixel], mean = of_.mean_.data()[pixel], expected = background + mean;
        const double inverse = 1 / (expected + of_.spread_.data()[pixel]), off = frame.electrons.data()[pixel] - expected;
        statistic_ += off * off * inverse;
        residual_ += off;
        noise_ += expected;
        pixels_ += 1;
        for (std::size_t k = 0; k < of_.draws_.size(); ++k) {
            const double of_draw = of_.draws_[k].data()[pixel], noise = background + of_draw, shift = widening_ * (of_draw - mean);
            mean_[k] += (noise + shift * shift) * inverse;
            variance_[k] += (2 * noise + 4 * shift * shift) * noise * inverse * inverse;
            light_[k] += shift;
        }
    }

    void add(const Sums& other) {
        statistic_ += other.statistic_;
        residual_ += other.residual_;
        noise_ += other.noise_;
        pixels_ += other.pixels_;
        for (std::size_t k = 0; k < mean_.size(); ++k) {
            mean_[k] += other.mean_[k];
            variance_[k] += other.variance_[k];
            light_[k] += other.light_[k];
        }
    }

    void clear() {
        statistic_ = residual_ = noise_ = 0;
        pixels_ = 0;
        for (auto* const list : {&mean_, &variance_, &light_}) std::ranges::fill(*list, 0.0);
    }

    [[nodiscard]] std::int64_t pixels() const { return pixels_; }

    [[nodiscard]] double p_value() const {
        if (pixels_ == 0) return std::numeric_limits<double>::quiet_NaN();
        double sum = 0;
        for (std::size_t k = 0; k < mean_.size(); ++k) {
            const double scale = 0.5 * variance_[k] / mean_[k];
            sum += chi_square_tail(statistic_ / scale, mean_[k] / scale);
        }
        return sum / draws_;
    }

    [[nodiscard]] double chi2_per_px() const { return statistic_ / static_cast<double>(pixels_); }

    /// All light but the expected, in predictive standard deviations.
    [[nodiscard]] double residual_sigma() const {
        if (pixels_ == 0) return std::numeric_limits<double>::quiet_NaN();
        double spread = 0;
        for (const double light : light_) spread += light * light / draws_;
        return residual_ / std::sqrt(noise_ + spread);
    }

private:
    const Reconstruction& of_;
    double draws_;
    double widening_;                       ///< of a draw's distance from the mean: it is part of the mean, the image is not
    double statistic_ = 0, residual_ = 0, noise_ = 0;
    std::int64_t pixels_ = 0;
    std::vector<double> mean_, variance_;   ///< of the statistic, under each draw
    std::vector<double> light_;             ///< of each draw against the mean
};

Reconstruction::Reconstruction(const survey::Frame& frame, const std::vector<std::vector<simulator::Source>>& draws)
    : frame_{frame}, mean_{frame.height(), frame.width()}, spread_{frame.height(), frame.width()} {
    BLISS_EXPECT(std::ssize(draws) >= k_least_draws, "there are draws enough to know their spread");
    for (const auto& sources : draws) draws_.push_back(render_sources(sources, frame));
    const auto n = static_cast<float>(draws_.size()), less_one = std::max(1.0f, n - 1);
    tile::for_each_on_one_thread(frame.height(), [&](std::int64_t row) {
        for (std::int64_t k = row * frame.width(); k < (row + 1) * frame.width(); ++k) {
            float sum = 0, squares = 0;
            for (const auto& draw : draws_) sum += draw.data()[k];
            const float mean = sum / n;
            for (const auto& draw : draws_) squares += (draw.data()[k] - mean) * (draw.data()[k] - mean);
            mean_.data()[k] = mean;
            spread_.data()[k] = squares / less_one;
        }
    });
}

std::int64_t Reconstruction::draws_looked_at(const survey::Frame& frame, std::int64_t draws) {
    const std::int64_t in_memory = k_most_pixels / std::max<std::int64_t>(1, frame.electrons.size());
    return std::min(draws, std::clamp(in_memory, k_least_draws, k_most_draws));
}

SourceFit Reconstruction::at(double x_px, double y_px) const {
    Sums near{*this}, around{*this};
    const double fwhm_px = frame_.psf.fwhm_px();
    for_each_pixel_within(frame_, x_px, y_px, fwhm_px, [&](std::int64_t pixel) { near.add(pixel); });
    for_each_pixel_within(frame_, x_px, y_px, k_surroundings_px, [&](std::int64_t pixel) { around.add(pixel); });
    return {near.p_value(), around.residual_sigma()};
}

FieldFit Reconstruction::whole() const {
    const tile::TileGrid grid{frame_.height(), frame_.width()};
    struct OfRow {
        Sums sums;
        std::int64_t cells = 0, unexplained = 0;
    };
    std::vector<OfRow> rows(static_cast<std::size_t>(grid.rows()), OfRow{Sums{*this}});
    tile::for_each_on_one_thread(grid.rows(), [&](std::int64_t row) {
        OfRow& of_row = rows[static_cast<std::size_t>(row)];
        Sums cell{*this};
        for (std::int64_t col = 0; col < grid.cols(); ++col) {
            cell.clear();
            for (std::int64_t y = row * tile::k_tile_px; y < std::min(frame_.height(), (row + 1) * tile::k_tile_px); ++y) {
                const std::int64_t last = std::min(frame_.width(), (col + 1) * tile::k_tile_px);
                for (std::int64_t x = col * tile::k_tile_px; x < last; ++x) cell.add(y * frame_.width() + x);
            }
            of_row.sums.add(cell);
            if (cell.pixels() < k_least_pixels_of_cell) continue;
            ++of_row.cells;
            if (std::abs(cell.residual_sigma()) >= k_unexplained_sigma) ++of_row.unexplained;
        }
    });
    Sums all{*this};
    std::int64_t cells = 0, unexplained = 0;
    for (const OfRow& row : rows) {
        all.add(row.sums);
        cells += row.cells;
        unexplained += row.unexplained;
    }
    const double share = static_cast<double>(unexplained) / static_cast<double>(std::max<std::int64_t>(1, cells));
    return {all.p_value(), all.chi2_per_px(), share};
}

}  // namespace bliss::inference
