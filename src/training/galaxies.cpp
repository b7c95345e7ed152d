#include "bliss/training/galaxies.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/statistics.hpp"
#include "bliss/simulator/reserved_steps.hpp"
#include "flat_parameters.hpp"
#include "schedule.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <numbers>

namespace bliss::training {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t k_judged_stamps = 2048;
/// Codes the couplings are fitted to, in batches of stamps; how many a step sees.
constexpr std::int64_t k_coded_batches = 64;
constexpr std::int64_t k_codes_per_step = 2048;
/// Galaxies of each side that distributions are compared on.
constexpr int k_compared = 20000;
constexpr double k_final_rate_share = 0.01;
constexpr double k_gradient_norm_limit = 100;
constexpr double k_average_decay = 0.99;
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

class VaeTraining {
public:
    VaeTraining(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator, std::uint64_t seed,
                const comm::Communicator& comm)
        : config_{config}, simulator_{simulator}, seed_{seed}, comm_{comm} {
        torch::manual_seed(seed);
        vae_.decoder = encoder::GalaxyDecoderNet{config.vae};
        vae_.encoder = encoder::GalaxyVaeEncoder{config.vae};
        stamps_of_rank_ = config.stamps_per_step / comm.size();
    }

    GalaxyVae run() {
        learn_shapes();
        fit_couplings();
        judge();
        return std::move(vae_);
    }

private:
    /// The two terms of the ELBO per stamp: half the misfit, and the divergence.
    struct Terms {
        at::Tensor misfit, kl, codes;
    };
    Terms terms(const GalaxyStamps& stamps, const simulator::SampleRange& range) {
        const auto q = vae_.encoder->forward(stamps.pixels, stamps.conditions);
        const at::Tensor noise = standard_normal(seed_, range.step, range.first_sample, q.mean.size(0), q.mean.size(1));
        const at::Tensor codes = q.mean + q.sd * noise;
        return {misfit(config_, stamps, vae_.decoder->decode(codes)), kl_from_standard_normal(q), codes};
    }

    [[nodiscard]] simulator::SampleRange range_of(std::uint32_t step) const {
        return {seed_, step, static_cast<std::uint32_t>(comm_.rank() * stamps_of_rank_)};
    }

    void learn_shapes() {
        FlatParameters decoder{*vae_.decoder}, encoder{*vae_.encoder};
        auto said = Clock::now();
        for (std::int64_t step = 0; step < config_.steps; ++step) {
            const auto range = range_of(static_cast<std::uint32_t>(step));
            decoder.zero_gradients();
            encoder.zero_gradients();
            const Terms loss = terms(make_stamps(config_, simulator_, range, stamps_of_rank_), range);
            const at::Tensor mean = (0.5 * loss.misfit + loss.kl).sum() / static_cast<double>(config_.stamps_per_step);
            mean.backward();
            for (FlatParameters* const parameters : {&decoder, &encoder}) {
                parameters->sum_gradients(comm_);
                take_step(*parameters, config_.steps, step);
            }
            if (Clock::now() - said >= k_log_interval || step + 1 == config_.steps) {
                said = Clock::now();
                spdlog::info("galaxies: step {}/{}  misfit {:.1f} (median {:.1f}), KL {:.2f} nats", step + 1, config_.steps,
                             loss.misfit.mean().item<double>(), loss.misfit.median().item<double>(), loss.kl.mean().item<double>());
            }
        }
        decoder.swap_average();
        encoder.swap_average();
    }

    void take_step(FlatParameters& parameters, std::int64_t steps, std::int64_t step) const {
        const double rate = cosine_schedule(config_.learning_rate, config_.warmup_steps, steps, k_final_rate_share, step);
        // All ranks hold the same gradients, so all of them end here or none.
        if (!std::isfinite(parameters.step(rate, k_gradient_norm_limit, k_average_decay))) {
            throw Error(
                fmt::format("galaxies: the gradients of step {} (seed {}) are not finite; lower galaxies.learning_rate", step, seed_));
        }
    }

    /// Fits the couplings to codes of training galaxies by maximum likelihood.
    void fit_couplings() {
        if (config_.vae.couplings == 0) return;
        std::vector<at::Tensor> batches;
        {
            const torch::NoGradGuard no_grad;
            for (std::int64_t k = 0; k < k_coded_batches; ++k) {
                const simulator::SampleRange range{seed_, simulator::k_galaxies_coded_step + static_cast<std::uint32_t>(k), 0};
                batches.push_back(terms(make_stamps(config_, simulator_, range, config_.stamps_per_step), range).codes);
            }
        }
        const at::Tensor codes = torch::cat(batches, 0);
        FlatParameters parameters{*vae_.decoder};
        torch::manual_seed(seed_);
        for (std::int64_t step = 0; step < config_.coupling_steps; ++step) {
            parameters.zero_gradients();
            const at::Tensor picked = codes.index_select(0, torch::randint(codes.size(0), {k_codes_per_step}, torch::kLong));
            const at::Tensor loss = -vae_.decoder->log_density(picked).mean();
            loss.backward();
            take_step(parameters, config_.coupling_steps, step);
            if ((step + 1) % 500 == 0) {
                spdlog::info("galaxies: couplings {}/{}  {:.3f} nats a galaxy", step + 1, config_.coupling_steps, loss.item<double>());
            }
        }
        parameters.swap_average();
    }

    void judge() {
        const torch::NoGradGuard no_grad;
        const simulator::SampleRange range{seed_, simulator::k_galaxies_judged_step, 0};
        const GalaxyStamps stamps = make_stamps(config_, simulator_, range, k_judged_stamps);
        const Terms of = terms(stamps, range);
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
    std::int64_t stamps_of_rank_ = 0;
    GalaxyVae vae_;
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

GalaxyVae train_galaxies(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator, std::uint64_t seed,
                         const comm::Communicator& comm) {
    return VaeTraining{config, simulator, seed, comm}.run();
}

}  // namespace bliss::training
