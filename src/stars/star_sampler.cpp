#include "bliss/stars/star_sampler.hpp"

#include "block.hpp"

#include "bliss/core/check.hpp"
#include "parallel.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace bliss::stars {
namespace {

/// Side of a block. Light of stars of two blocks of one turn must not meet: it reaches out of each for half a block at most.
constexpr double k_block_px = 64;
static_assert(2 * StarImage::k_most_reach_px < k_block_px);
/// Steps of a sweep for each star that is expected.
constexpr double k_steps_per_star = 6;
/// Over this share of the burn-in the prior's density rises to its own from this share of it: faint stars come last, when the bright ones
/// that they would have to make up for stand.
constexpr double k_warming = 0.4, k_first_density = 0.1;
/// Sweeps before the first that move the stars given to where they explain the frame best, and how often the same is done while the density
/// rises. A bright star a tenth of a pixel off would be split into two to make up for it, and two bright stars hardly ever join.
constexpr std::int64_t k_polishing = 30, k_polish_every = 4;
/// The diffuse light's prior: half a Normal of this share of the frame's mean pixel; and how far the sky may have been set too high.
constexpr double k_diffuse_share = 0.01, k_sky_error = 0.005;
/// Rounds of steps of the diffuse light in a sweep, and the pixels that a level hangs on: the sum of its squared weights.
constexpr int k_level_rounds = 2;
constexpr double k_level_px = 4.0 / 9 * StarImage::k_node_px * StarImage::k_node_px;
/// Sweeps from one rendering of the whole image to the next, which brings the stars' far light up to date.
constexpr std::int64_t k_render_every = 16;
/// In the first sweeps of the burn-in no star comes or goes.
constexpr StepShares k_counts_fixed{.shifts = 0.75, .exchanges = 0.25, .splits_and_joins = 0, .makes_and_removals = 0};
/// Parts of the random numbers of a sweep: blocks come first.
constexpr std::uint32_t k_levels_part = 1u << 22, k_prior_part = (1u << 24) - 1, k_offset_part = k_prior_part - 1;

class Sampler {
public:
    Sampler(StarImage& image, const std::vector<Star>& start, const StarPrior& prior, const SamplerSettings& settings)
        : image_{image}, prior_{prior}, settings_{settings}, start_density_{prior.stars_per_px},
          levels_(static_cast<std::size_t>(image.node_rows() * image.node_cols())),
          mean_level_{image.mean_level(0, static_cast<double>(image.frame().width()), 0, static_cast<double>(image.frame().height()))},
          least_level_{static_cast<float>(-k_sky_error * survey::median_background_e(image.frame()))} {
        const auto& frame = image.frame();
        const double margin = margin_px(image, prior);
        whole_ = {-0.5 - margin, static_cast<double>(frame.width()) - 0.5 + margin, -0.5 - margin,
                  static_cast<double>(frame.height()) - 0.5 + margin};
        BLISS_EXPECT(2 * std::ssize(levels_) * k_level_rounds < k_offset_part - k_levels_part, "the frame has not too many nodes");
        if (settings.free_density) prior_.stars_per_px = std::clamp(prior.stars_per_px, k_density_low, k_density_high);
        if (settings.free_alpha) prior_.alpha = std::clamp(prior.alpha, k_alpha_low, k_alpha_high);
        for (Star star : start) {
            if (!std::isfinite(star.ln_flux_e) || !whole_.holds(star)) continue;
            star.ln_flux_e = std::clamp(star.ln_flux_e, prior.ln_flux_low, prior.ln_flux_high);
            stars_.push_back(image.lit(star));
        }
        start_ = stars_;
        image_.render(stars_, levels_);
    }

    StarDraws run() {
        StarDraws out;
        std::vector<float> mean_levels(levels_.size());
        StarPrior mean = prior_;
        mean.stars_per_px = mean.alpha = 0;
        const auto share = 1 / static_cast<double>(settings_.draws);
        polish();
        for (std::int64_t sweep = 0; std::ssize(out.draws) < settings_.draws; ++sweep) {
            sweep_ = static_cast<std::uint32_t>(k_polishing + sweep);
            const double warming = k_warming * static_cast<double>(settings_.burn_in);
            const double warmth = warming > 0 ? static_cast<double>(sweep) / warming : 1;
            const bool counts_fixed = 4 * sweep < settings_.burn_in;
            const StepShares shares = counts_fixed ? k_counts_fixed : StepShares{};
            const double density_factor = warmth < 1 ? std::pow(k_first_density, 1 - warmth) : 1;
            for_each_block(density_factor, [&](Block& block, double area_px, double started) {
                block.run(static_cast<std::int64_t>(std::ceil(k_steps_per_star * std::max(started, start_density_ * area_px))), shares);
            });
            if (warmth < 1 && sweep % k_polish_every == 0) for_each_block(1, k_polish);
            for (int round = 0; round < k_level_rounds; ++round) sweep_levels(round);
            if (warmth >= 1) draw_prior();
            if (sweep % k_render_every == k_render_every - 1) {
                if (sweep < settings_.burn_in) image_.fit_wings(stars_);
                image_.render(stars_, levels_);
            }
            const std::int64_t since = sweep + 1 - settings_.burn_in;
            if (since <= 0 || since % settings_.thin != 0) continue;
            auto& draw = out.draws.emplace_back();
            for (const LitStar& lit : stars_) draw.push_back(lit.star);
            for (std::size_t k = 0; k < levels_.size(); ++k) mean_levels[k] += static_cast<float>(share) * levels_[k];
            mean.stars_per_px += share * prior_.stars_per_px;
            mean.alpha += share * prior_.alpha;
        }
        out.diffuse_e = image_.diffuse(mean_levels);
        std::ranges::transform(out.diffuse_e.pixels(), image_.wing_light().pixels(), out.diffuse_e.pixels().begin(), std::plus<>{});
        out.prior = mean;
        return out;
    }

private:
    [[nodiscard]] RandomStream stream(std::uint32_t part) const {
        return {settings_.seed, StreamPurpose::star_steps, sweep_, settings_.field, part};
    }

    static constexpr auto k_polish = [](Block& block, double /*area_px*/, double /*started*/) { block.polish(); };

    void polish() {
        for (std::int64_t sweep = 0; sweep < k_polishing; ++sweep) {
            sweep_ = static_cast<std::uint32_t>(sweep);
            for_each_block(1, k_polish);
            for (int round = 0; round < k_level_rounds; ++round) sweep_levels(round);
        }
        image_.fit_wings(stars_);
        image_.render(stars_, levels_);
    }

    /// All blocks, turn by turn. @param work what is done to a block, told its area and how many stars the chain began with in it
    template <class Work>
    void for_each_block(double density_factor, const Work& work) {
        StarPrior prior = prior_;
        prior.stars_per_px *= density_factor;
        RandomStream offset = stream(k_offset_part);
        const double left = whole_.x_begin - k_block_px * offset.uniform(), top = whole_.y_begin - k_block_px * offset.uniform();
        const auto cols = static_cast<std::int64_t>(std::ceil((whole_.x_end - left) / k_block_px));
        const auto rows = static_cast<std::int64_t>(std::ceil((whole_.y_end - top) / k_block_px));
        const auto block_of = [&](const Star& s) {
            const auto col = std::clamp<std::int64_t>(static_cast<std::int64_t>((s.x_px - left) / k_block_px), 0, cols - 1);
            const auto row = std::clamp<std::int64_t>(static_cast<std::int64_t>((s.y_px - top) / k_block_px), 0, rows - 1);
            return static_cast<std::size_t>(row * cols + col);
        };
        std::vector<std::vector<LitStar>> of_block(static_cast<std::size_t>(rows * cols));
        std::vector<double> started(of_block.size());   // not present stars: steps whose number hangs on the state would favour some states
        for (const LitStar& lit : stars_) of_block[block_of(lit.star)].push_back(lit);
        for (const LitStar& lit : start_) started[block_of(lit.star)] += 1;
        for (std::int64_t turn = 0; turn < 4; ++turn) {
            parallel_for(rows * cols, [&](std::int64_t block) {
                const std::int64_t row = block / cols, col = block % cols;
                if (2 * (row % 2) + col % 2 != turn) return;
                const auto k = static_cast<std::size_t>(block);
                const Region region{std::max(whole_.x_begin, left + k_block_px * static_cast<double>(col)),
                                    std::min(whole_.x_end, left + k_block_px * static_cast<double>(col + 1)),
                                    std::max(whole_.y_begin, top + k_block_px * static_cast<double>(row)),
                                    std::min(whole_.y_end, top + k_block_px * static_cast<double>(row + 1))};
                if (region.x_end <= region.x_begin || region.y_end <= region.y_begin) return;
                Block its{image_, prior, region, std::move(of_block[k]), stream(static_cast<std::uint32_t>(block))};
                work(its, region.area(), started[k]);
                of_block[k] = its.stars();
            });
        }
        stars_.clear();
        for (const auto& list : of_block) stars_.insert(stars_.end(), list.begin(), list.end());
    }

    /// Steps of the diffuse light, node by node.
    void sweep_levels(int round) {
        const std::int64_t rows = image_.node_rows(), cols = image_.node_cols();
        const double step = 2.4 * std::sqrt(mean_level_ / k_level_px), prior_var = std::pow(k_diffuse_share * mean_level_, 2);
        for (std::int64_t turn = 0; turn < 4; ++turn) {
            const auto move = [&](StarImage::Draft& draft, std::int64_t node) {
                const std::int64_t row = node / cols, col = node % cols;
                if (2 * (row % 2) + col % 2 != turn) return;
                RandomStream random = stream(k_levels_part + static_cast<std::uint32_t>(round * rows * cols + node));
                const double size = std::pow(3.0, std::floor(3 * random.uniform()) - 1);
                float& level = levels_[static_cast<std::size_t>(node)];
                const auto to = static_cast<float>(static_cast<double>(level) + size * step * random.normal());
                if (to < least_level_) return;
                const double more = static_cast<double>(to - level);
                const double prior = -0.5 * static_cast<double>(to * to - level * level) / prior_var;
                if (!(std::log(random.uniform()) < image_.log_ratio_of_level(row, col, more, draft) + prior)) return;
                image_.take(draft);
                level = to;
            };
            parallel_for(rows * cols, [] { return StarImage::Draft{}; }, move);
        }
    }

    /// Density and exponent given the stars, under flat priors of their logarithms.
    void draw_prior() {
        if (stars_.empty()) return;
        RandomStream random = stream(k_prior_part);
        const auto n = static_cast<double>(stars_.size());
        if (settings_.free_density) {
            const double density = random.gamma(n) / whole_.area();
            if (density >= k_density_low && density <= k_density_high) prior_.stars_per_px = density;
        }
        if (!settings_.free_alpha) return;
        double sum = 0;
        for (const LitStar& lit : stars_) sum += lit.star.ln_flux_e - prior_.ln_flux_low;
        const auto log_target = [&](double alpha) {
            return n * std::log(alpha / -std::expm1(-alpha * (prior_.ln_flux_high - prior_.ln_flux_low))) - alpha * sum;
        };
        const double to = prior_.alpha * std::exp(2.4 / std::sqrt(n) * random.normal());
        if (to < k_alpha_low || to > k_alpha_high) return;
        if (std::log(random.uniform()) < log_target(to) - log_target(prior_.alpha)) prior_.alpha = to;
    }

    StarImage& image_;
    StarPrior prior_;
    SamplerSettings settings_;
    double start_density_;
    Region whole_;
    std::vector<LitStar> stars_;
    std::vector<LitStar> start_;    ///< as given: how much work a block is does not hang on what has been drawn
    std::vector<float> levels_;
    double mean_level_;
    float least_level_;
    std::uint32_t sweep_ = 0;
};

}  // namespace

double StarPrior::log_density(double ln_flux_e) const {
    return std::log(alpha / -std::expm1(-alpha * (ln_flux_high - ln_flux_low))) - alpha * (ln_flux_e - ln_flux_low);
}

double margin_px(const StarImage& image, const StarPrior& prior) {
    return static_cast<double>(image.lit({0, 0, prior.ln_flux_high}).reach_px);
}

StarDraws sample_stars(StarImage& image, const std::vector<Star>& start, const StarPrior& prior,
                       const SamplerSettings& settings) {
    BLISS_EXPECT(settings.draws > 0 && settings.thin > 0, "draws are asked for");
    return Sampler{image, start, prior, settings}.run();
}

}  // namespace bliss::stars
