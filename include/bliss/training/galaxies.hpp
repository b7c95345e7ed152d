#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/encoder/galaxy_vae.hpp"
#include "bliss/simulator/simulation.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace bliss::training {

/// Training of the galaxy VAE (paper section 3.2): single, centred galaxies of the bulge + disk prior, seen without noise through a
/// PSF of the survey's range. What is learnt is the shape, at one flux: stamps weigh as if their flux were `flux_e` on a sky of
/// `background_e`, whatever the size.
struct GalaxyTrainingConfig {
    std::string model;  ///< file whose decoder is used as it is; empty: one is trained
    encoder::GalaxyVaeConfig vae;
    std::int64_t steps = 4000;
    std::int64_t stamps_per_step = 256;  ///< over all ranks
    double learning_rate = 2e-3;
    std::int64_t warmup_steps = 100;
    double flux_e = 1e5;
    double background_e = 800;
    double size_unit_px_low = 1.2;  ///< log-uniform range of the size unit, pixels
    double size_unit_px_high = 6;
    std::int64_t coupling_steps = 3000;  ///< steps that fit the couplings to the codes of training galaxies
};

void describe(ConfigVisitor& visitor, GalaxyTrainingConfig& config);

/// How far prior draws, g_theta(v) with v ~ Normal(0, I), are from the galaxies they were learnt from: Kolmogorov-Smirnov distances,
/// 0 ... 1, of distributions at the training's size unit.
struct GalaxyDistances {
    double ln_flux = 0;
    double ln_half_light_radius = 0;
    double ellipticity = 0;  ///< of |e| = (1 - q) / (1 + q)
    double concentration = 0;
};

/// What the training came to, on galaxies it has not seen.
struct GalaxyReport {
    double elbo = 0;            ///< mean evidence lower bound without the noise's constant, nats
    double kl = 0;              ///< of q(code | stamp) from Normal(0, I), nats
    double misfit = 0;          ///< median over stamps of the squared residual in units of the noise: 0 is perfect
    double share_of_light = 0;  ///< median of the residual's norm against the galaxy's
    GalaxyDistances drawn;      ///< of draws through the couplings
    GalaxyDistances drawn_without_couplings;
};

struct GalaxyVae {
    encoder::GalaxyDecoderNet decoder{nullptr};
    encoder::GalaxyVaeEncoder encoder{nullptr};
    GalaxyReport report;
};

/// Trains a VAE, data-parallel over the ranks, and judges it. Stamp i of step s is made from (seed, s, i) on whichever rank. @return
/// nothing where the program was asked to stop (core/interrupt.hpp) @collective
[[nodiscard]] std::optional<GalaxyVae> train_galaxies(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator,
                                                      std::uint64_t seed, const comm::Communicator& comm);

/// A batch of single galaxies as the VAE sees them.
struct GalaxyStamps {
    at::Tensor pixels;               ///< (B, 53, 53) in units of the noise
    at::Tensor conditions;           ///< (B, k_condition_count + 1)
    at::Tensor size_unit_px;         ///< (B, 1)
    encoder::GaussianMixture light;  ///< above the atmosphere, pixels, double
    encoder::CircularMixture psf;    ///< double
};
[[nodiscard]] GalaxyStamps make_stamps(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator,
                                       const simulator::SampleRange& range, std::int64_t count);

/// The squared residual of decoded galaxies in units of the noise, summed over the plane: -2 ln p(stamp | code) but for a constant,
/// with Normal noise of the sky in every pixel. @param decoded in size units @return (B) double
[[nodiscard]] at::Tensor misfit(const GalaxyTrainingConfig& config, const GalaxyStamps& stamps, const encoder::GaussianMixture& decoded);

/// KL divergence of Normal(mean, sd) from Normal(0, I). @param q (B, n) @return (B)
[[nodiscard]] at::Tensor kl_from_standard_normal(const encoder::GalaxyVaeEncoderImpl::Normal& q);

}  // namespace bliss::training
