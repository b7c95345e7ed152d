#include "bliss/training/judge.hpp"

#include "batch.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/statistics.hpp"
#include "bliss/encoder/distributions.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "bliss/training/losses.hpp"

#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <span>

namespace bliss::training {
namespace {

/// Tiles that say less are not looked at one by one.
constexpr double k_least_probability = 0.05;
/// A source with another one this near, in FWHM of the PSF, is blended.
constexpr double k_blend_fwhm = 2;
/// Draws that the rank of a shape is taken among.
constexpr std::int64_t k_shape_draws = 99;
constexpr std::chrono::seconds k_log_interval{30};

/// Which of a batch's sources are blended.
std::vector<char> blended(const Batch& batch) {
    const auto& sources = batch.labels.sources;
    std::vector<char> out(sources.size(), 0);
    for (std::size_t i = 0; i < sources.size(); ++i) {
        for (std::size_t k = 0; k < sources.size() && !out[i]; ++k) {
            if (k == i || sources[k].image != sources[i].image) continue;
            const double limit = k_blend_fwhm * batch.psf_fwhm_px[static_cast<std::size_t>(sources[i].image)];
            out[i] = std::hypot(sources[k].x_px - sources[i].x_px, sources[k].y_px - sources[i].y_px) < limit ? 1 : 0;
        }
    }
    return out;
}

/// Share of a slot's marginal below a value. @param cdf of one part, by its place in the tensors
template <class Cdf>
double share_below(const encoder::TilePosterior& q, std::int64_t tile, const Cdf& cdf) {
    const std::int64_t parts = q.log_weight.size(2), first = (tile * q.log_weight.size(1) + encoder::slot_index(1, 0)) * parts;
    double sum = 0;
    for (std::int64_t c = first; c < first + parts; ++c) sum += std::exp(q.log_weight.data_ptr<float>()[c]) * cdf(c);
    return sum;
}

class Judge {
public:
    Judge(const encoder::Model& model, const TrainingConfig& config)
        : detection_{model.detection}, sources_{model.sources}, config_{config} {
        if (model.galaxies) decoder_ = model.galaxies->decoder->exported();
    }

    void add(std::uint64_t seed, std::uint32_t batch_number, std::int64_t images) {
        const simulator::SampleRange range{seed, simulator::k_model_judged_step - batch_number / k_batches_per_step,
                                           batch_number % k_batches_per_step * static_cast<std::uint32_t>(images)};
        const Batch batch = make_batch(config_, decoder_ ? &*decoder_ : nullptr, range, images);
        const at::Tensor tiles = detection_->trunk(batch.features, batch.conditions).flatten(1, 2);
        const auto ask = [&](const at::Tensor& context) {
            return detection_->posterior(detection_->head(tiles, context, batch.conditions), batch.conditions);
        };
        const auto nll = [&](const encoder::TilePosterior& q) {
            const DetectionLoss loss = detection_loss(q, batch.labels);
            return (loss.count + loss.location + loss.flux).item<double>();
        };
        const encoder::TilePosterior q = ask(batch.context);
        out_.nll += nll(q);
        add_counts(q, batch, out_.any_source, true);
        const encoder::TilePosterior alone = batch.context.defined() ? ask({}) : q;
        out_.nll_alone += nll(alone);
        add_counts(alone, batch, out_.any_source_alone, false);
        out_.tiles += static_cast<double>(batch.labels.count.numel());
        if (!batch.labels.sources.empty()) add_sources(q, batch);
    }

    [[nodiscard]] Judgement& result() { return out_; }

private:
    /// Samples are numbered in 32 bits, steps in 32 more.
    static constexpr std::uint32_t k_batches_per_step = 1u << 20;

    void add_counts(const encoder::TilePosterior& q, const Batch& batch, Reliability& reliability, bool sums) {
        const at::Tensor p = torch::softmax(q.count_logits, 1).contiguous();
        const std::int64_t counts = p.size(1);
        const std::int64_t* const truth = batch.labels.count.data_ptr<std::int64_t>();
        for (std::int64_t k = 0; k < p.size(0); ++k) {
            const float* const of_tile = p.data_ptr<float>() + k * counts;
            const double any = 1 - of_tile[0];
            if (any >= k_least_probability) reliability.add(any, truth[k] > 0);
            if (!sums) continue;
            for (std::int64_t n = 1; n < counts; ++n) out_.expected += static_cast<double>(n) * of_tile[n];
            out_.found += static_cast<double>(truth[k]);
        }
    }

    void add_sources(const encoder::TilePosterior& posterior, const Batch& batch) {
        const encoder::TilePosterior q = posterior.plain();
        const SourceBatch picked = pick_sources(batch, q, GivenAs::drawn, batch.labels.sources.size());
        const encoder::SourcePosterior of_sources = sources_->forward(picked.windows);
        const at::Tensor p_star = torch::sigmoid(of_sources.star_logits).contiguous();
        const at::Tensor shapes = of_sources.shape ? draw_shapes(*of_sources.shape, batch) : at::Tensor{};
        const std::vector<char> in_blend = blended(batch);
        for (std::size_t k = 0; k < batch.labels.sources.size(); ++k) {
            const LabelledSource& s = batch.labels.sources[k];
            const auto add_to = [&](SourceCalibration& to) {
                to.sources += 1;
                to.star.add(p_star.data_ptr<float>()[k], s.is_star);
                if (batch.labels.count.data_ptr<std::int64_t>()[s.tile] == 1) add_place_and_flux(q, s, to);
                if (!s.is_star && shapes.defined()) add_shape(shapes[static_cast<std::int64_t>(k)], batch, k, to);
            };
            add_to(out_.all);
            if (in_blend[k]) add_to(out_.blended);
        }
    }

    static void add_place_and_flux(const encoder::TilePosterior& q, const LabelledSource& s, SourceCalibration& to) {
        const auto at = [](const at::Tensor& t, std::int64_t c) { return static_cast<double>(t.data_ptr<float>()[c]); };
        const auto rank = [&](Parameter which, double share) { to.ranks[static_cast<std::size_t>(which)].add(share); };
        rank(Parameter::x,
             share_below(q, s.tile, [&](std::int64_t c) { return encoder::TruncatedNormalCdf{at(q.u_mean, c), at(q.u_sd, c)}(s.u); }));
        rank(Parameter::y,
             share_below(q, s.tile, [&](std::int64_t c) { return encoder::TruncatedNormalCdf{at(q.v_mean, c), at(q.v_sd, c)}(s.v); }));
        rank(Parameter::ln_flux, share_below(q, s.tile, [&](std::int64_t c) {
                 return encoder::NormalAbove{at(q.ln_flux_mean, c), at(q.ln_flux_sd, c), q.ln_flux_low}.cdf(s.ln_flux_e);
             }));
    }

    /// Shape latents drawn for each source. @return (n, draws, D - 1)
    static at::Tensor draw_shapes(const encoder::ShapePosterior& q, const Batch& batch) {
        const std::int64_t n = std::ssize(batch.labels.sources), latents = batch.labels.shape_latents.size(1);
        at::Tensor numbers = torch::empty({n, k_shape_draws, 1 + latents});
        RandomStream random{batch.range.seed, StreamPurpose::posterior_kind, batch.range.step, batch.range.first_sample};
        encoder::write_shape_numbers(random, n * k_shape_draws, 1 + latents, numbers.data_ptr<float>());
        return q.first(n).draw(numbers).contiguous();
    }

    void add_shape(const at::Tensor& draws, const Batch& batch, std::size_t source, SourceCalibration& to) {
        // The size unit is the same for all: ranks do not need it.
        const std::size_t n = decoder_->latents() - 1;
        simulator::Morphology truth;
        decoder_->morphologies({batch.labels.shape_latents.data_ptr<float>() + source * n, n}, std::span{&truth, 1});
        std::vector<simulator::Morphology> of_draws(static_cast<std::size_t>(k_shape_draws));
        decoder_->morphologies({draws.data_ptr<float>(), of_draws.size() * n}, of_draws);
        double radius = 0, e1 = 0, e2 = 0, axis_ratio = 0;
        for (const simulator::Morphology& drawn : of_draws) {
            radius += drawn.half_light_radius_px < truth.half_light_radius_px ? 1 : 0;
            e1 += drawn.e1 < truth.e1 ? 1 : 0;
            e2 += drawn.e2 < truth.e2 ? 1 : 0;
            axis_ratio += drawn.axis_ratio() < truth.axis_ratio() ? 1 : 0;
        }
        const auto rank = [&](Parameter which, double below) {
            to.ranks[static_cast<std::size_t>(which)].add((below + 0.5) / static_cast<double>(k_shape_draws + 1));
        };
        rank(Parameter::half_light_radius, radius);
        rank(Parameter::e1, e1);
        rank(Parameter::e2, e2);
        rank(Parameter::axis_ratio, axis_ratio);
    }

    encoder::DetectionEncoder detection_;
    encoder::SourceEncoder sources_;
    TrainingConfig config_;
    std::optional<simulator::GalaxyDecoder> decoder_;
    Judgement out_;
};

/// All numbers of a judgement that add up over ranks.
std::vector<double*> sums_of(Judgement& j) {
    std::vector<double*> out{&j.tiles, &j.nll, &j.nll_alone, &j.expected, &j.found};
    const auto add_reliability = [&](Reliability& r) {
        for (auto& bin : r.bins) out.insert(out.end(), {&bin.count, &bin.said, &bin.true_count});
    };
    add_reliability(j.any_source);
    add_reliability(j.any_source_alone);
    for (SourceCalibration* const c : {&j.all, &j.blended}) {
        out.push_back(&c->sources);
        add_reliability(c->star);
        for (auto& ranks : c->ranks) {
            for (double& count : ranks.counts) out.push_back(&count);
        }
    }
    return out;
}

}  // namespace

void Reliability::add(double p, bool came_true) {
    Bin& bin = bins[std::min(bins.size() - 1, static_cast<std::size_t>(p * static_cast<double>(bins.size())))];
    bin.count += 1;
    bin.said += p;
    bin.true_count += came_true ? 1 : 0;
}

double Reliability::error() const {
    double error = 0, total = 0;
    for (const Bin& bin : bins) {
        error += std::abs(bin.said - bin.true_count);
        total += bin.count;
    }
    return total > 0 ? error / total : std::nan("");
}

void RankHistogram::add(double share_below) {
    counts[std::min(k_rank_bins - 1, static_cast<std::size_t>(std::max(0.0, share_below) * static_cast<double>(k_rank_bins)))] += 1;
}

double RankHistogram::total() const {
    double sum = 0;
    for (const double count : counts) sum += count;
    return sum;
}

double RankHistogram::coverage(double probability) const {
    const auto outside = static_cast<std::size_t>(std::lround(0.5 * (1 - probability) * static_cast<double>(k_rank_bins)));
    double inside = 0;
    for (std::size_t k = outside; k + outside < k_rank_bins; ++k) inside += counts[k];
    return inside / total();
}

double RankHistogram::p_value() const {
    const double expected = total() / static_cast<double>(k_rank_bins), freedom = static_cast<double>(k_rank_bins - 1);
    if (!(expected > 0)) return std::nan("");
    double chi2 = 0;
    for (const double count : counts) chi2 += (count - expected) * (count - expected) / expected;
    return chi_square_tail(chi2, freedom);
}

Judgement judge(const encoder::Model& model, std::int64_t tiles, std::uint64_t seed, const comm::Communicator& comm) {
    const torch::NoGradGuard no_grad;
    TrainingConfig config;
    comm::agree_on(comm, [&] {
        if (model.card.training_config.empty()) {
            throw DataError(
                "the model does not hold the configuration of its training, so nothing like it can be simulated; train it again");
        }
        ConfigDocument::from_text(model.card.training_config, "the model's training configuration").read(config);
    });
    constexpr std::int64_t k_images = 8;
    const std::int64_t tiles_per_batch = k_images * config.tiles_per_side * config.tiles_per_side;
    const std::int64_t batches = std::max<std::int64_t>(1, (tiles + tiles_per_batch - 1) / tiles_per_batch);
    Judge judge{model, config};
    auto said = std::chrono::steady_clock::now();
    for (std::int64_t k = comm.rank(); k < batches; k += comm.size()) {
        judge.add(seed, static_cast<std::uint32_t>(k), k_images);
        if (std::chrono::steady_clock::now() - said < k_log_interval) continue;
        said = std::chrono::steady_clock::now();
        spdlog::info("judged {} of {} batches of {} tiles", k + 1, batches, tiles_per_batch);
    }
    Judgement out = judge.result();
    std::vector<double> sums;
    for (const double* const sum : sums_of(out)) sums.push_back(*sum);
    comm.all_reduce_sum(std::span<double>{sums});
    std::size_t next = 0;
    for (double* const sum : sums_of(out)) *sum = sums[next++];
    out.nll /= out.tiles;
    out.nll_alone /= out.tiles;
    return out;
}

}  // namespace bliss::training
