#include "bliss/inference/star_field.hpp"

#include "bliss/core/error.hpp"
#include "bliss/tile/grid.hpp"
#include "rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>

namespace bliss::inference {
namespace {

/// Stars of two draws may be one where they stand closer than this, and their ln fluxes differ by less.
constexpr double k_same_place_px = 0.75, k_same_ln_flux = 1;
/// A 95 % quantile this near to ln of the brightest flux stands at the end of the prior.
constexpr double k_end_of_prior = 0.02;
/// Of fewer draws no errors can be told.
constexpr std::size_t k_least_members = 3;

/// A star of a draw.
struct Member {
    std::uint32_t draw = 0, star = 0;
};

/// Stars taken for one.
struct Cluster {
    std::vector<Member> members;
    double x_sum = 0, y_sum = 0, ln_flux_sum = 0;
    std::int64_t next = -1;   ///< another one that began in the same pixel

    void add(const stars::Star& star, const Member& member) {
        members.push_back(member);
        x_sum += star.x_px;
        y_sum += star.y_px;
        ln_flux_sum += star.ln_flux_e;
    }
    /// How far a star is from the mean member, against what may be one; from 1 on it is another.
    [[nodiscard]] double distance(const stars::Star& star) const {
        const auto n = static_cast<double>(members.size());
        const double in_flux = std::abs(star.ln_flux_e - ln_flux_sum / n) / k_same_ln_flux;
        if (in_flux >= 1) return in_flux;
        return std::max(in_flux, std::hypot(star.x_px - x_sum / n, star.y_px - y_sum / n) / k_same_place_px);
    }
};

/// Clusters by the pixel of their first member.
class Clusters {
public:
    explicit Clusters(const std::vector<std::vector<stars::Star>>& draws) {
        double x_low = 0, x_high = 0, y_low = 0, y_high = 0;
        for (const auto& draw : draws) {
            for (const stars::Star& star : draw) {
                x_low = std::min(x_low, star.x_px);
                x_high = std::max(x_high, star.x_px);
                y_low = std::min(y_low, star.y_px);
                y_high = std::max(y_high, star.y_px);
            }
        }
        left_ = std::llround(x_low);
        top_ = std::llround(y_low);
        cols_ = std::llround(x_high) - left_ + 1;
        rows_ = std::llround(y_high) - top_ + 1;
        first_.assign(static_cast<std::size_t>(rows_ * cols_), -1);
    }

    void take(const std::vector<stars::Star>& draw, std::uint32_t number) {
        struct Pair {
            double distance;
            std::uint32_t star;
            std::size_t cluster;
        };
        std::vector<Pair> pairs;
        for (std::uint32_t k = 0; k < draw.size(); ++k) {
            for_each_near(draw[k], [&](std::size_t c) {
                const double distance = all_[c].distance(draw[k]);
                if (distance < 1) pairs.push_back({distance, k, c});
            });
        }
        std::ranges::sort(pairs, {}, [](const Pair& p) { return std::tuple(p.distance, p.star, p.cluster); });
        std::vector<char> taken(draw.size(), 0);
        for (const Pair& pair : pairs) {
            Cluster& cluster = all_[pair.cluster];
            if (taken[pair.star] || cluster.members.back().draw == number) continue;
            taken[pair.star] = 1;
            cluster.add(draw[pair.star], {number, pair.star});
        }
        for (std::uint32_t k = 0; k < draw.size(); ++k) {
            if (taken[k]) continue;
            std::int64_t& first = first_[pixel(std::llround(draw[k].y_px) - top_, std::llround(draw[k].x_px) - left_)];
            Cluster& cluster = all_.emplace_back();
            cluster.add(draw[k], {number, k});
            cluster.next = first;
            first = std::ssize(all_) - 1;
        }
    }

    [[nodiscard]] const std::vector<Cluster>& all() const { return all_; }

private:
    [[nodiscard]] std::size_t pixel(std::int64_t row, std::int64_t col) const { return static_cast<std::size_t>(row * cols_ + col); }

    /// A cluster's mean may have moved from its first member: two pixels around are far enough.
    template <class Visit>
    void for_each_near(const stars::Star& star, const Visit& visit) const {
        const std::int64_t row = std::llround(star.y_px) - top_, col = std::llround(star.x_px) - left_;
        for (std::int64_t r = std::max<std::int64_t>(0, row - 2); r <= std::min(rows_ - 1, row + 2); ++r) {
            for (std::int64_t c = std::max<std::int64_t>(0, col - 2); c <= std::min(cols_ - 1, col + 2); ++c) {
                for (std::int64_t k = first_[pixel(r, c)]; k >= 0; k = all_[static_cast<std::size_t>(k)].next)
                    visit(static_cast<std::size_t>(k));
            }
        }
    }

    std::int64_t left_ = 0, top_ = 0, rows_ = 0, cols_ = 0;
    std::vector<Cluster> all_;
    std::vector<std::int64_t> first_;   ///< of each pixel, or -1
};

Source source_of(const Cluster& cluster, const std::vector<std::vector<stars::Star>>& draws, std::int64_t tile_px) {
    const auto marginal = [&](double stars::Star::*member) {
        std::vector<double> values;
        for (const Member& m : cluster.members) values.push_back(draws[m.draw][m.star].*member);
        return marginal_of(std::move(values));
    };
    const auto moments = [](const Marginal& m) { return Moments{m.median, m.error}; };
    Source out;
    out.p_source = static_cast<double>(cluster.members.size()) / static_cast<double>(draws.size());
    out.x_px = marginal(&stars::Star::x_px);
    out.y_px = marginal(&stars::Star::y_px);
    out.ln_flux_e = marginal(&stars::Star::ln_flux_e);
    out.tile = tile::to_tile(out.x_px.median, out.y_px.median, tile_px).tile;
    out.tile_x_px = moments(out.x_px);
    out.tile_y_px = moments(out.y_px);
    out.tile_ln_flux_e = moments(out.ln_flux_e);
    return out;
}

std::vector<stars::Star> reported(const std::vector<stars::Star>& draw, const survey::Frame& frame, double ln_flux_low) {
    std::vector<stars::Star> out;
    for (const stars::Star& star : draw) {
        if (star.ln_flux_e >= ln_flux_low && !off_frame(frame, star.x_px, star.y_px)) out.push_back(star);
    }
    return out;
}

}  // namespace

bool at_end_of_prior(const Source& source, const simulator::PriorConfig& trained) {
    return source.ln_flux_e.high > std::log(trained.flux_max_e) - k_end_of_prior;
}

std::vector<Source> condense(const std::vector<std::vector<stars::Star>>& draws, std::int64_t tile_px, double floor) {
    Clusters clusters{draws};
    // The last draw is farthest from where the chain began.
    for (std::size_t k = draws.size(); k-- > 0;) clusters.take(draws[k], static_cast<std::uint32_t>(k));
    std::vector<Source> out;
    for (const Cluster& cluster : clusters.all()) {
        if (cluster.members.size() < k_least_members) continue;
        Source source = source_of(cluster, draws, tile_px);
        if (source.p_source >= floor) out.push_back(std::move(source));
    }
    std::ranges::stable_sort(out, [](const Source& a, const Source& b) {
        return std::tuple(a.tile, -a.p_source, a.x_px.median) < std::tuple(b.tile, -b.p_source, b.x_px.median);
    });
    for (std::size_t k = 1; k < out.size(); ++k) {
        if (out[k].tile != out[k - 1].tile) continue;
        out[k].slot = out[k - 1].slot + 1;
        out[k].multiple = out[k - 1].multiple = true;
    }
    return out;
}

StarField draw_star_field(const survey::Frame& frame, const std::vector<Source>& found, const FieldPrior& prior,
                          const simulator::PriorConfig& trained, const CatalogConfig& config, const DrawKey& key, std::int64_t tile_px) {
    constexpr double tile_area = tile::k_tile_px * tile::k_tile_px;
    const double ln_limit = std::log(trained.label_flux_min_e);
    const auto share_above = [&](double alpha) {
        return simulator::pareto_share_above(trained.label_flux_min_e, trained.flux_min_e, trained.flux_max_e, alpha);
    };
    const stars::StarPrior all{.stars_per_px = prior.sources_per_tile / tile_area / share_above(prior.star_alpha),
                               .alpha = prior.star_alpha,
                               .ln_flux_low = std::log(trained.flux_min_e),
                               .ln_flux_high = std::log(trained.flux_max_e)};
    if (config.density_given() && all.stars_per_px > stars::k_density_high) {
        throw DataError(
            fmt::format("{}: {:.3g} sources a tile above the model's limit are {:.3g} stars a pixel of all fluxes, more than {} can "
                        "be told apart from a sky; lower sources_per_tile, or leave it out",
                        frame.source, prior.sources_per_tile, all.stars_per_px, stars::k_density_high));
    }
    std::vector<stars::Star> start;
    for (const Source& source : found) {
        if (source.p_source >= config.threshold) start.push_back({source.x_px.median, source.y_px.median, source.ln_flux_e.median});
    }
    stars::StarImage image{frame};
    stars::StarDraws drawn = stars::sample_stars(image, start, all,
                                                 {.burn_in = config.stars.burn_in,
                                                  .draws = std::max(config.stars.draws, config.samples),
                                                  .thin = config.stars.thin,
                                                  .free_density = !config.density_given(),
                                                  .free_alpha = config.prior.estimate || config.prior.star_alpha == 0,
                                                  .seed = key.seed,
                                                  .field = key.field});
    StarField out;
    std::vector<std::vector<stars::Star>> above;
    for (const auto& draw : drawn.draws) above.push_back(reported(draw, frame, ln_limit));
    for (const auto& draw : above) out.expected_sources += static_cast<double>(draw.size()) / static_cast<double>(above.size());
    out.sources = condense(above, tile_px, config.floor);
    out.draws = std::move(drawn.draws);
    out.diffuse_e = std::move(drawn.diffuse_e);
    out.prior = prior;
    out.prior.star_alpha = drawn.prior.alpha;
    out.prior.sources_per_tile = drawn.prior.stars_per_px * tile_area * share_above(drawn.prior.alpha);
    return out;
}

std::vector<std::vector<SampledSource>> samples_of(const StarField& field, const survey::Frame& frame, std::int64_t samples,
                                                   double ln_flux_low, std::int64_t tile_px) {
    const tile::TileGrid grid{frame.height(), frame.width(), tile_px};
    std::vector<std::vector<SampledSource>> out;
    for (std::int64_t k = 0; k < samples; ++k) {
        auto& draw = out.emplace_back();
        const auto which = static_cast<std::size_t>((k + 1) * std::ssize(field.draws) / samples - 1);
        for (const stars::Star& star : reported(field.draws[which], frame, ln_flux_low)) {
            const TileIndex tile = tile::to_tile(star.x_px, star.y_px, tile_px).tile;
            draw.push_back({.sample = static_cast<std::int32_t>(k),
                            .tile = tile,
                            .tile_number = static_cast<std::uint32_t>(tile.row * grid.cols() + tile.col),
                            .x_px = star.x_px,
                            .y_px = star.y_px,
                            .ln_flux_e = star.ln_flux_e,
                            .is_star = true,
                            .latents = {}});
        }
        std::ranges::stable_sort(draw, [](const SampledSource& a, const SampledSource& b) {
            return std::tuple(a.tile, -a.ln_flux_e) < std::tuple(b.tile, -b.ln_flux_e);
        });
    }
    return out;
}

}  // namespace bliss::inference
