#include "bliss/training/galaxies.hpp"

#include "bliss/comm/pending_sum.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/interrupt.hpp"
#include "bliss/core/statistics.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "bliss/tile/one_thread.hpp"
#include "gradient_sums.hpp"
#include "schedule.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <numbers>
#include <optional>

namespace bliss::training {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t k_judged_stamps = 2048;
/// Codes the couplings are fitted to, in batches of stamps; how many a step sees.
constexpr std::int64_t k_coded_batches = 64;
constexpr std::int64_t k_codes_per_step = 2048;
/// Stamps and codes that one thread computes together.
constexpr std::int64_t k_stamps_at_once = 32, k_codes_at_once = 256;
/// Galaxies of each side that distributions are compared on.
constexpr int k_compared = 20000;
constexpr double k_final_rate_share = 0.01;
constexpr double k_gradient_norm_limit = 100;
constexpr double k_average_decay = 0.99;
/// Gradients, of thousands of nats a stamp at first, are added up to multiples of 2^-24.
constexpr int k_gradient_bits = 24;
constexpr std::chrono::seconds k_log_interval{10};

at::Tensor standard_normal(std::uint64_t seed, std::uint32_t step, std::uint32_t first_sample, std::int64_t rows, std::int64_t columns) {
    at::Tensor out = torch::empty({rows, columns});
    float* at = out.data_ptr<float>();
    for (std::int64_t i = 0; i < rows; ++i) {
        RandomStream random{seed, StreamPurpose::galaxy, step, first_sample + static_cast<std::uint32_t>(i), 1};
        for (std::int64_t k = 0; k < columns; ++k) *at++ = static_cast<float>(random.normal());
    }
    return out;
}

GalaxyDistances distances(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
    return {ks_distance(a[0], b[0]), ks_distance(a[1], b[1]), ks_distance(a[2], b[2]), ks_distance(a[3], b[3])};
}

/// ln flux, ln half-light radius, |e| and concentration of galaxies of a prior, one list each. Radii in size units.
std::vector<std::vector<double>> galaxies_of(simulator::PriorConfig prior, const simulator::GalaxyDecoder* decoder, std::uint64_t seed,
                                             std::uint32_t sample) {
    prior.galaxies = decoder ? simulator::GalaxyModel::learnt : simulator::GalaxyModel::bulge_disk;
    prior.star_fraction = 0;
    std::vector<std::vector<double>> lists(4);
    RandomStream random{seed, StreamPurpose::galaxy, simulator::k_galaxies_judged_step, sample, 2};
    for (int i = 0; i < k_compared; ++i) {
        const simulator::Source galaxy = simulator::draw_mark(prior, decoder, random);
        const simulator::Morphology shape = simulator::morphology_of(galaxy.light);
        lists[0].push_back(std::log(galaxy.flux_e));
        lists[1].push_back(std::log(shape.half_light_radius_px / simulator::size_unit_px(prior, galaxy.flux_e)));
        lists[2].push_back(std::hypot(shape.e1, shape.e2));
        lists[3].push_back(simulator::concentration_of(galaxy.light));
    }
    return lists;
}

/// One thread's copy of a VAE, with gradients of its own.
struct VaeCopy {
    VaeCopy(const encoder::GalaxyVaeConfig& config, const FlatParameters& of_decoder, const FlatParameters& of_encoder)
        : decoder{config},
          encoder{config},
          decoder_gradients{of_decoder, *decoder, k_gradient_bits},
          encoder_gradients{of_encoder, *encoder, k_gradient_bits} {}

    encoder::GalaxyDecoderNet decoder;
    encoder::GalaxyVaeEncoder encoder;
    ThreadGradients decoder_gradients, encoder_gradients;
};

class VaeTraining {
public:
    VaeTraining(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator, std::uint64_t seed,
                const comm::Communicator& comm)
        : config_{config}, simulator_{simulator}, seed_{seed}, comm_{comm} {
        torch::manual_seed(seed);
        vae_.decoder = encoder::GalaxyDecoderNet{config.vae};
        vae_.encoder = encoder::GalaxyVaeEncoder{config.vae};
        decoder_.emplace(*vae_.decoder);
        encoder_.emplace(*vae_.encoder);
    }

    std::optional<GalaxyVae> run() {
        if (!learn_shapes() || !fit_couplings()) return {};
        tile::for_each_on_one_thread(1, [&](std::int64_t) { judge(); });
        return std::move(vae_);
    }

private:
    /// The two terms of the ELBO per stamp: half the misfit, and the divergence.
    struct Terms {
        at::Tensor misfit, kl, codes;
    };
    [[nodiscard]] Terms terms(encoder::GalaxyDecoderNet& decoder, encoder::GalaxyVaeEncoder& encoder, const GalaxyStamps& stamps,
                              const simulator::SampleRange& range) const {
        const auto q = encoder->forward(stamps.pixels, stamps.conditions);
        const at::Tensor noise = standard_normal(seed_, range.step, range.first_sample, q.mean.size(0), q.mean.size(1));
        const at::Tensor codes = q.mean + q.sd * noise;
        return {misfit(config_, stamps, decoder->decode(codes)), kl_from_standard_normal(q), codes};
    }

    /// Cuts `count` into pieces of work, which are the same for any number of ranks, and calls `work(copy, first, count)` for this rank's,
    /// each on one thread with a copy of its own.
    template <class Work>
    void for_each_piece(std::int64_t count, std::int64_t at_once, const Work& work) {
        const std::int64_t pieces = (count + at_once - 1) / at_once;
        const std::int64_t begin = pieces * comm_.rank() / comm_.size(), end = pieces * (comm_.rank() + 1) / comm_.size();
        copies_.for_each(
            static_cast<std::size_t>(end - begin), [&] { return std::make_unique<VaeCopy>(config_.vae, *decoder_, *encoder_); },
            [&](VaeCopy& copy, std::size_t k) {
                const std::int64_t first = (begin + static_cast<std::int64_t>(k)) * at_once;
                work(copy, first, std::min(at_once, count - first));
            });
    }

    /// Adds up the gradients of a network over threads and ranks, takes a step, and clears them.
    void take_step(FlatParameters& network, ThreadGradients VaeCopy::* of_copy, std::int64_t steps, std::int64_t step) {
        GradientSums total{network.size(), k_gradient_bits, torch::kCPU};
        std::vector<const GradientSums*> of_threads;
        copies_.for_all([&](VaeCopy& copy) { of_threads.push_back(&(copy.*of_copy).sums()); });
        total.sum_of(of_threads);
        comm::PendingSum{comm_, total.on_host()}.wait();
        copies_.for_all([&](VaeCopy& copy) { (copy.*of_copy).clear(); });
        const double rate = cosine_schedule(config_.learning_rate, config_.warmup_steps, steps, k_final_rate_share, step);
        network.step(total.read(), rate, k_gradient_norm_limit, k_average_decay, comm_);
    }

    /// @return whether to go on: nobody asked the program to stop @throws Error on all ranks where a gradient was not finite. @collective
    [[nodiscard]] bool go_on(const std::atomic<bool>& finite, std::int64_t step) const {
        enum State : std::int64_t { not_finite, asked_to_stop, well };
        const std::int64_t state = comm_.all_reduce_min(std::int64_t{!finite ? not_finite : stop_requested() ? asked_to_stop : well});
        if (state != not_finite) return state == well;
        throw Error(fmt::format("galaxies: the gradients of step {} (seed {}) are not finite; lower galaxies.learning_rate", step, seed_));
    }

    /// @return whether to go on
    [[nodiscard]] bool learn_shapes() {
        auto said = Clock::now();
        for (std::int64_t step = 0; step < config_.steps; ++step) {
            std::atomic<bool> finite = true;
            std::atomic<double> sum_misfit = 0, sum_kl = 0;
            for_each_piece(config_.stamps_per_step, k_stamps_at_once, [&](VaeCopy& copy, std::int64_t first, std::int64_t count) {
                const simulator::SampleRange range{seed_, static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(first)};
                const GalaxyStamps stamps = make_stamps(config_, simulator_, range, count);
                const torch::AutoGradMode with_gradients{true};
                const Terms loss = terms(copy.decoder, copy.encoder, stamps, range);
                copy.decoder_gradients.begin_piece();
                copy.encoder_gradients.begin_piece();
                ((0.5 * loss.misfit + loss.kl).sum() / static_cast<double>(config_.stamps_per_step)).backward();
                if (!copy.decoder_gradients.end_piece() || !copy.encoder_gradients.end_piece()) finite = false;
                sum_misfit += loss.misfit.sum().item<double>();
                sum_kl += loss.kl.sum().item<double>();
            });
            if (!go_on(finite, step)) return false;
            take_step(*decoder_, &VaeCopy::decoder_gradients, config_.steps, step);
            take_step(*encoder_, &VaeCopy::encoder_gradients, config_.steps, step);
            if (Clock::now() - said >= k_log_interval || step + 1 == config_.steps) {
                said = Clock::now();
                const double of_rank = static_cast<double>(config_.stamps_per_step) / comm_.size();
                spdlog::info("galaxies: step {}/{}  misfit {:.1f}, KL {:.2f} nats", step + 1, config_.steps, sum_misfit / of_rank,
                             sum_kl / of_rank);
            }
        }
        decoder_->swap_average();
        encoder_->swap_average();
        return true;
    }

    /// Fits the couplings to codes of training galaxies by maximum likelihood. @return whether to go on
    [[nodiscard]] bool fit_couplings() {
        if (config_.vae.couplings == 0) return true;
        std::vector<at::Tensor> batches(static_cast<std::size_t>(k_coded_batches));
        tile::for_each_on_one_thread(k_coded_batches, [&](std::int64_t k) {
            const simulator::SampleRange range{seed_, simulator::k_galaxies_coded_step + static_cast<std::uint32_t>(k), 0};
            batches[static_cast<std::size_t>(k)] =
                terms(vae_.decoder, vae_.encoder, make_stamps(config_, simulator_, range, config_.stamps_per_step), range).codes;
        });
        const at::Tensor codes = torch::cat(batches, 0);
        decoder_.emplace(*vae_.decoder);  // an optimiser and an average that begin here
        copies_ = {};
        torch::manual_seed(seed_);
        for (std::int64_t step = 0; step < config_.coupling_steps; ++step) {
            const at::Tensor picked = codes.index_select(0, torch::randint(codes.size(0), {k_codes_per_step}, torch::kLong));
            std::atomic<bool> finite = true;
            std::atomic<double> sum = 0;
            for_each_piece(k_codes_per_step, k_codes_at_once, [&](VaeCopy& copy, std::int64_t first, std::int64_t count) {
                const torch::AutoGradMode with_gradients{true};
                const at::Tensor loss = -copy.decoder->log_density(picked.slice(0, first, first + count)).sum();
                copy.decoder_gradients.begin_piece();
                (loss / static_cast<double>(k_codes_per_step)).backward();
                if (!copy.decoder_gradients.end_piece()) finite = false;
                sum += loss.item<double>();
            });
            if (!go_on(finite, step)) return false;
            take_step(*decoder_, &VaeCopy::decoder_gradients, config_.coupling_steps, step);
            if ((step + 1) % 500 == 0) {
                spdlog::info("galaxies: couplings {}/{}  {:.3f} nats a galaxy", step + 1, config_.coupling_steps,
                             sum * comm_.size() / static_cast<double>(k_codes_per_step));
            }
        }
        decoder_->swap_average();
        return true;
    }

    void judge() {
        const torch::NoGradGuard no_grad;
        const simulator::SampleRange range{seed_, simulator::k_galaxies_judged_step, 0};
        const GalaxyStamps stamps = make_stamps(config_, simulator_, range, k_judged_stamps);
        const Terms of = terms(vae_.decoder, vae_.encoder, stamps, range);
        GalaxyReport& report = vae_.report;
        report.elbo = -(0.5 * of.misfit + of.kl).mean().item<double>();
        report.kl = of.kl.mean().item<double>();
        report.misfit = of.misfit.median().item<double>();
        const at::Tensor whole = overlap(stamps.light, stamps.light, stamps.psf.convolved_with_itself()) * config_.flux_e * config_.flux_e /
                                 config_.background_e;
        report.share_of_light = torch::sqrt(of.misfit / whole).median().item<double>();
        const simulator::GalaxyDecoder decoder = vae_.decoder->exported();
        const auto trained_on = galaxies_of(simulator_.prior, nullptr, seed_, 0);
        report.drawn = distances(trained_on, galaxies_of(simulator_.prior, &decoder, seed_, 1));
        encoder::GalaxyVaeConfig bare = config_.vae;
        bare.couplings = 0;
        encoder::GalaxyDecoderNet without{bare};
        for (auto& item : without->named_parameters()) item.value().copy_(vae_.decoder->named_parameters()[item.key()]);
        const simulator::GalaxyDecoder uncoupled = without->exported();
        report.drawn_without_couplings = distances(trained_on, galaxies_of(simulator_.prior, &uncoupled, seed_, 1));
    }

    const GalaxyTrainingConfig& config_;
    const simulator::SimulatorConfig& simulator_;
    std::uint64_t seed_;
    const comm::Communicator& comm_;
    GalaxyVae vae_;
    std::optional<FlatParameters> decoder_, encoder_;
    PerThread<VaeCopy> copies_;
};

}  // namespace

void describe(ConfigVisitor& visitor, GalaxyTrainingConfig& config) {
    visitor.field("model", config.model,
                  "model or galaxies file whose decoder is used instead of training one; empty: train (relative paths: to "
                  "the configuration file)");
    encoder::describe(visitor, config.vae);
    visitor.field("steps", config.steps, "optimiser steps", Range{1, 1e9});
    visitor.field("stamps_per_step", config.stamps_per_step, "stamps of one step, over all ranks", Range{1, 65536});
    visitor.field("learning_rate", config.learning_rate, "of the optimiser, at its highest", k_positive);
    visitor.field("warmup_steps", config.warmup_steps, "steps of linear warm-up", k_not_negative);
    visitor.field("flux_e", config.flux_e, "electrons a stamp counts as having", k_positive);
    visitor.field("background_e", config.background_e, "electrons per pixel of sky a stamp counts as having", k_positive);
    visitor.field("size_unit_px_low", config.size_unit_px_low, "median half-light radius on a stamp, lowest, pixels (log-uniform)",
                  k_positive);
    visitor.field("size_unit_px_high", config.size_unit_px_high, "the same, highest", k_positive);
    visitor.field("coupling_steps", config.coupling_steps, "steps that fit the couplings to the codes of training galaxies",
                  k_not_negative);
}

std::optional<GalaxyVae> train_galaxies(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator, std::uint64_t seed,
                                        const comm::Communicator& comm) {
    return VaeTraining{config, simulator, seed, comm}.run();
}

}  // namespace bliss::training
