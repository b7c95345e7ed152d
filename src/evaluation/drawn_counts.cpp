#include "bliss/evaluation/drawn_counts.hpp"

#include "bliss/evaluation/metrics.hpp"
#include "statistics.hpp"

#include <algorithm>
#include <cmath>

namespace bliss::evaluation {
namespace {

/// The boxes of one field.
class Boxes {
public:
    Boxes(const FieldPair& field, double side_px, double border_px)
        : side_px_{side_px}, low_px_{border_px}, rows_{along(field.height_px, side_px, border_px)},
          cols_{along(field.width_px, side_px, border_px)} {}

    [[nodiscard]] std::int64_t size() const { return rows_ * cols_; }

    /// Number of the box that a place is in, -1 outside all.
    [[nodiscard]] std::int64_t at(double x_px, double y_px) const {
        const auto col = std::floor((x_px - low_px_) / side_px_), row = std::floor((y_px - low_px_) / side_px_);
        if (!(row >= 0 && col >= 0 && row < static_cast<double>(rows_) && col < static_cast<double>(cols_))) return -1;
        return static_cast<std::int64_t>(row) * cols_ + static_cast<std::int64_t>(col);
    }

private:
    static std::int64_t along(std::int64_t side, double box_px, double border_px) {
        return std::max<std::int64_t>(0, std::llround(std::floor((static_cast<double>(side - 1) - 2 * border_px) / box_px)));
    }

    double side_px_, low_px_;
    std::int64_t rows_, cols_;
};

}  // namespace

double DrawnCounts::share_in(double probability) const {
    const double low = 0.5 * (1 - probability), high = 1 - low;
    double inside = 0;
    for (const RankInterval& rank : ranks) {
        inside += std::max(0.0, std::min(high, rank.high) - std::max(low, rank.low)) / (rank.high - rank.low);
    }
    return detail::ratio(inside, static_cast<double>(ranks.size()));
}

DrawnCounts count_draws(std::span<const FieldPair> fields, double box_px, double border_px) {
    DrawnCounts out;
    for (const FieldPair& field : fields) {
        out.draws = std::max(out.draws, field.draws);
        for (const auto& row : field.samples) out.draws = std::max<std::int64_t>(out.draws, row.sample + 1);
    }
    if (out.draws == 0) return out;
    for (const FieldPair& field : fields) {
        const Boxes boxes{field, box_px, border_px};
        std::vector<std::int32_t> truth(static_cast<std::size_t>(boxes.size())), drawn(static_cast<std::size_t>(boxes.size() * out.draws));
        for (const TruthSource& source : field.truth) {
            const std::int64_t box = source.labelled ? boxes.at(source.x_px, source.y_px) : -1;
            if (box >= 0) ++truth[static_cast<std::size_t>(box)];
        }
        for (const auto& row : field.samples) {
            const std::int64_t box = boxes.at(row.x_px, row.y_px);
            if (box >= 0) ++drawn[static_cast<std::size_t>(box * out.draws + row.sample)];
        }
        for (std::size_t box = 0; box < truth.size(); ++box) {
            const auto first = drawn.begin() + static_cast<std::ptrdiff_t>(box) * out.draws, last = first + out.draws;
            const auto below = static_cast<double>(std::count_if(first, last, [&](std::int32_t n) { return n < truth[box]; }));
            const auto equal = static_cast<double>(std::count(first, last, truth[box]));
            const double ranks = static_cast<double>(out.draws + 1);
            out.ranks.push_back({below / ranks, (below + equal + 1) / ranks});
            out.truth += truth[box];
            for (auto n = first; n != last; ++n) out.drawn += static_cast<double>(*n) / static_cast<double>(out.draws);
        }
        out.boxes += boxes.size();
    }
    return out;
}

}  // namespace bliss::evaluation
