#include "bliss/training/galaxies.hpp"

#include <torch/torch.h>

#include <cmath>

namespace bliss::training {
namespace {

/// Light left out of a stamp, electrons per pixel and Gaussian.
constexpr double k_tolerance_e = 0.05;

/// A PSF of the survey's range without its faint wings: few Gaussians.
survey::Psf draw_wingless_psf(const simulator::ConditionsConfig& config, RandomStream& random) {
    const double core = random.uniform(config.psf_sigma1_px_low, config.psf_sigma1_px_high);
    const double wide = random.uniform(config.psf_sigma2_px_low, config.psf_sigma2_px_high);
    const double peak = random.uniform(0, config.psf_b_high);
    return survey::Psf({{core * core, core}, {peak * wide * wide + 1e-9, wide}});
}

}  // namespace

GalaxyStamps make_stamps(const GalaxyTrainingConfig& config, const simulator::SimulatorConfig& simulator,
                         const simulator::SampleRange& range, std::int64_t count) {
    constexpr std::int64_t side = encoder::k_galaxy_stamp_px;
    constexpr std::int64_t psf_components = 2;
    GalaxyStamps stamps;
    stamps.pixels = torch::zeros({count, side, side});
    stamps.conditions = torch::empty({count, encoder::k_condition_count + 1});
    stamps.size_unit_px = torch::empty({count, 1});
    const auto doubles = torch::TensorOptions{}.dtype(torch::kDouble);
    stamps.psf = {torch::empty({count, psf_components}, doubles), torch::empty({count, psf_components}, doubles)};
    auto conditions = stamps.conditions.accessor<float, 2>(), unit = stamps.size_unit_px.accessor<float, 2>();
    auto psf_weight = stamps.psf.weight.accessor<double, 2>(), psf_variance = stamps.psf.variance.accessor<double, 2>();
    std::vector<simulator::GalaxyLight> lights;
    simulator::GaussianLists lists;
    for (std::int64_t i = 0; i < count; ++i) {
        RandomStream random{range.seed, StreamPurpose::galaxy, range.step, range.first_sample + static_cast<std::uint32_t>(i)};
        const double unit_px = random.log_uniform(config.size_unit_px_low, config.size_unit_px_high);
        const survey::Psf psf = draw_wingless_psf(simulator.conditions, random);
        lights.push_back(simulator::scaled(simulator::light_of(simulator::draw_shape(simulator.prior, random)), unit_px));
        const simulator::Source galaxy{
            .x_px = side / 2, .y_px = side / 2, .is_star = false, .flux_e = config.flux_e, .light = lights.back()};
        simulator::append_gaussians(galaxy, psf, k_tolerance_e, lists.gaussians);
        lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
        const auto numbers = encoder::conditioning(psf, config.background_e);
        for (std::int64_t k = 0; k < encoder::k_condition_count; ++k) conditions[i][k] = numbers[static_cast<std::size_t>(k)];
        conditions[i][encoder::k_condition_count] = static_cast<float>(std::log(unit_px));
        unit[i][0] = static_cast<float>(unit_px);
        for (std::int64_t p = 0; p < psf_components; ++p) {
            const auto& component = psf.components()[static_cast<std::size_t>(p)];
            psf_weight[i][p] = component.weight;
            psf_variance[i][p] = component.sigma_px * component.sigma_px;
        }
    }
    simulator::render(lists, {stamps.pixels.data_ptr<float>(), count, side, side});
    stamps.pixels.div_(std::sqrt(config.background_e));
    std::size_t most = 0;
    for (const auto& light : lights) most = std::max(most, light.size());
    const std::int64_t components = static_cast<std::int64_t>(most);
    at::Tensor table = torch::zeros({6, count, components}, doubles);
    table.slice(0, 3, 4).fill_(1);  // a component of no weight still has an area
    table.slice(0, 5, 6).fill_(1);
    auto at = table.accessor<double, 3>();
    for (std::int64_t i = 0; i < count; ++i) {
        const auto& light = lights[static_cast<std::size_t>(i)];
        for (std::size_t j = 0; j < light.size(); ++j) {
            const auto& c = light[j];
            const double numbers[] = {c.weight, c.x_px, c.y_px, c.xx, c.xy, c.yy};
            for (std::int64_t k = 0; k < 6; ++k) at[k][i][static_cast<std::int64_t>(j)] = numbers[k];
        }
    }
    const auto parts = table.unbind(0);
    stamps.light = {parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]};
    return stamps;
}

at::Tensor misfit(const GalaxyTrainingConfig& config, const GalaxyStamps& stamps, const encoder::GaussianMixture& decoded) {
    const auto wide = [](const at::Tensor& t) { return t.to(torch::kDouble); };
    const encoder::GaussianMixture model =
        encoder::GaussianMixture{wide(decoded.weight), wide(decoded.x),  wide(decoded.y),
                                 wide(decoded.xx),     wide(decoded.xy), wide(decoded.yy)}.scaled(wide(stamps.size_unit_px));
    const encoder::CircularMixture psf = stamps.psf.convolved_with_itself();
    const at::Tensor squared =
        overlap(model, model, psf) - 2 * overlap(model, stamps.light, psf) + overlap(stamps.light, stamps.light, psf);
    return squared * (config.flux_e * config.flux_e / config.background_e);
}

at::Tensor kl_from_standard_normal(const encoder::GalaxyVaeEncoderImpl::Normal& q) {
    return 0.5 * (q.mean * q.mean + q.sd * q.sd - 1 - 2 * torch::log(q.sd)).sum(1);
}

}  // namespace bliss::training
