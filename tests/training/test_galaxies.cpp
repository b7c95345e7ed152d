#include "bliss/training/galaxies.hpp"

#include "bliss/comm/communicator.hpp"
#include "bliss/simulator/runtime.hpp"

#include <torch/torch.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <omp.h>

#include <cmath>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

training::GalaxyTrainingConfig small_config() {
    training::GalaxyTrainingConfig config;
    config.vae = {.latents = 5, .gaussians = 4, .width = 16, .couplings = 4};
    config.steps = 40;
    config.stamps_per_step = 32;
    config.warmup_steps = 5;
    config.coupling_steps = 20;
    return config;
}

}  // namespace

TEST_CASE("the misfit is the sum over pixels of the squared residual in units of the noise") {
    const simulator::Runtime runtime{1};
    // Small galaxies, so that nearly all light is on the stamp; what is not, and pixels' finite size, is within the tolerance.
    training::GalaxyTrainingConfig config = small_config();
    config.size_unit_px_low = config.size_unit_px_high = 1.2;
    simulator::SimulatorConfig simulator;
    simulator.conditions.psf_sigma1_px_low = 1.3;
    const training::GalaxyStamps stamps = training::make_stamps(config, simulator, {3, 0, 0}, 6);
    torch::manual_seed(2);
    encoder::GalaxyDecoderNet decoder{config.vae};
    const torch::NoGradGuard no_grad;
    const at::Tensor codes = torch::randn({6, 4});
    const encoder::GaussianMixture decoded = decoder->decode(codes);
    const at::Tensor misfit = training::misfit(config, stamps, decoded);
    // A code's couplings are the identity when new, so v = (flux, code).
    const simulator::GalaxyDecoder plain = decoder->exported();
    for (std::int64_t i = 0; i < 6; ++i) {
        std::vector<float> v{0};
        for (std::int64_t k = 0; k < 4; ++k) v.push_back(codes[i][k].item<float>());
        std::vector<survey::PsfComponent> psf;
        for (std::int64_t p = 0; p < 2; ++p) {
            psf.push_back({stamps.psf.weight[i][p].item<double>(), std::sqrt(stamps.psf.variance[i][p].item<double>())});
        }
        const std::int64_t side = encoder::k_galaxy_stamp_px;
        at::Tensor model = torch::zeros({side, side});
        simulator::GaussianLists lists;
        simulator::append_gaussians(
            {static_cast<double>(side / 2), static_cast<double>(side / 2), false, config.flux_e, plain.light(v, 1.2)}, survey::Psf{psf},
            1e-3, lists.gaussians);
        lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
        simulator::render(lists, {model.data_ptr<float>(), 1, side, side});
        const double pixels = (model / std::sqrt(config.background_e) - stamps.pixels[i]).square().sum().item<double>();
        CHECK_THAT(misfit[i].item<double>(), WithinRel(pixels, 0.01));
    }
}

TEST_CASE("the divergence from the prior is the integral it stands for") {
    const encoder::GalaxyVaeEncoderImpl::Normal q{torch::tensor({{0.7f, -1.2f}}), torch::tensor({{0.3f, 1.4f}})};
    double expected = 0;
    for (std::int64_t k = 0; k < 2; ++k) {
        const double mean = q.mean[0][k].item<double>(), sd = q.sd[0][k].item<double>(), step = 0.01;
        for (double x = -12; x < 12; x += step) {
            const double ln_q = -0.5 * std::pow((x - mean) / sd, 2) - std::log(sd), ln_p = -0.5 * x * x;
            expected += step * std::exp(ln_q) / std::sqrt(2 * M_PI) * (ln_q - ln_p);
        }
    }
    CHECK_THAT(training::kl_from_standard_normal(q).item<double>(), WithinRel(expected, 1e-4));
}

TEST_CASE("a VAE learns what galaxies look like") {
    const simulator::Runtime runtime{1};
    const simulator::SimulatorConfig simulator;
    training::GalaxyTrainingConfig config = small_config();
    const auto report = [&](std::int64_t steps) {
        config.steps = steps;
        return training::train_galaxies(config, simulator, 5, comm::Communicator::self())->report;
    };
    const training::GalaxyReport untrained = report(1), trained = report(120);
    CHECK(trained.elbo > untrained.elbo / 2);  // both are negative
    CHECK(trained.share_of_light < 0.7 * untrained.share_of_light);
    CHECK(trained.drawn.ln_flux < 0.03);  // by construction; 0.014 is what chance gives one time in twenty
    CHECK(trained.drawn.ellipticity < untrained.drawn.ellipticity);
}

TEST_CASE("a VAE has the same bits for any number of ranks and threads") {
    const simulator::Runtime runtime{1};
    const simulator::SimulatorConfig simulator;
    training::GalaxyTrainingConfig config = small_config();
    config.steps = 10;
    const training::GalaxyReport together = training::train_galaxies(config, simulator, 5, comm::Communicator::world())->report;
    omp_set_num_threads(3);
    const training::GalaxyReport alone = training::train_galaxies(config, simulator, 5, comm::Communicator::self())->report;
    omp_set_num_threads(1);
    CHECK(together.elbo == alone.elbo);
    CHECK(together.drawn.concentration == alone.drawn.concentration);
}
