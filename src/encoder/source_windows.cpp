#include "bliss/encoder/source_windows.hpp"

#include "bliss/encoder/settings.hpp"
#include "bliss/tile/fast_asinh.hpp"
#include "bliss/tile/grid.hpp"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace bliss::encoder {
namespace {

constexpr std::int64_t k_side = tile::k_padded_tile_px;

/// A star's profile does not fall below this against its peak: a star of 10^8 electrons then leaves one electron a pixel.
constexpr double k_ln_profile_floor = -16;

/// An error as the networks read it: 0 for 0, about the logarithm of large ones.
float compressed(double error, double scale) { return static_cast<float>(std::asinh(error / scale)); }

/// The PSF's profile at every pixel of the windows (n, 1, 52, 52), and what a star has in its brightest pixel in units of the noise and of
/// the scale (n, 1, 1, 1).
struct StarModel {
    at::Tensor profile, peak;
};

StarModel star_model(const SourceWindows& windows, double compression_scale) {
    constexpr std::int64_t pixels = k_side * k_side;
    const std::int64_t n = windows.given.size(0);
    StarModel out{torch::empty({n, 1, k_side, k_side}), torch::empty({n, 1, 1, 1})};
    const at::Tensor given = windows.given.contiguous(), index = windows.psf_index.contiguous(),
                     profiles = windows.psf_profiles.contiguous();
    at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) {
            const float* const table = profiles.data_ptr<float>() + index.data_ptr<std::int64_t>()[k] * (k_profile_length + 1);
            const float* const of_source = given.data_ptr<float>() + k * k_given_count;
            const float x = of_source[0] + k_side / 2, y = of_source[1] + k_side / 2;
            const double ln_flux = k_ln_flux_centre + k_ln_flux_scale * of_source[4];
            out.peak.data_ptr<float>()[k] = static_cast<float>(std::exp(ln_flux) * table[k_profile_length] / compression_scale);
            float* const profile = out.profile.data_ptr<float>() + k * pixels;
            for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
                const float dx = static_cast<float>(pixel % k_side) - x, dy = static_cast<float>(pixel / k_side) - y;
                const float step = std::sqrt(dx * dx + dy * dy) / static_cast<float>(k_profile_step_px);
                const int below = std::min(static_cast<int>(step), static_cast<int>(k_profile_length) - 2);
                profile[pixel] = table[below] + (step - static_cast<float>(below)) * (table[below + 1] - table[below]);
            }
        }
    });
    return out;
}

/// The same in operations on all windows together, for a GPU.
StarModel star_model_of_tensors(const SourceWindows& windows, double compression_scale) {
    const at::Tensor table = windows.psf_profiles.index_select(0, windows.psf_index);  // (n, k_profile_length + 1)
    const at::Tensor along = torch::arange(k_side, table.options()) - k_side / 2;      // (52)
    const at::Tensor dx = along.view({1, 1, -1}) - windows.given.select(1, 0).view({-1, 1, 1});
    const at::Tensor dy = along.view({1, -1, 1}) - windows.given.select(1, 1).view({-1, 1, 1});
    const at::Tensor step = (torch::sqrt(dx * dx + dy * dy) / k_profile_step_px).flatten(1);  // (n, 52 x 52)
    const at::Tensor below = step.floor().clamp_max(static_cast<double>(k_profile_length - 2));
    const at::Tensor place = below.to(torch::kLong);
    const at::Tensor low = table.gather(1, place), high = table.gather(1, place + 1);
    const at::Tensor flux = torch::exp(k_ln_flux_centre + k_ln_flux_scale * windows.given.select(1, 4));
    return {(low + (step - below) * (high - low)).view({-1, 1, k_side, k_side}),
            (flux * table.select(1, k_profile_length) / compression_scale).view({-1, 1, 1, 1})};
}

void set_star(SourceWindows& windows, const StarModel& model) {
    // In units of the noise and of the scale: sinh of the signal channel, less the star.
    const at::Tensor grown = torch::exp(windows.features.slice(1, 0, 1));
    const at::Tensor left = 0.5 * (grown - 1 / grown) - model.peak * torch::exp(4 * model.profile);
    const at::Tensor valid = windows.features.slice(1, windows.features.size(1) - 1);
    windows.star = torch::cat({model.profile, valid * tile::fast_asinh(left)}, 1);
}

}  // namespace

std::array<float, k_given_count> given_numbers(const GivenSource& source) {
    constexpr double error_px = 0.1, error_ln_flux = 0.05;
    return {static_cast<float>(source.x_px - std::round(source.x_px)), static_cast<float>(source.y_px - std::round(source.y_px)),
            compressed(source.x_err_px, error_px), compressed(source.y_err_px, error_px),
            static_cast<float>(scaled_ln_flux(source.ln_flux_above_noise)),
            compressed(source.ln_flux_err, error_ln_flux)};
}

std::vector<float> psf_profile(const survey::Psf& psf) {
    std::vector<float> profile;
    const double peak = psf.value(0);
    for (std::int64_t k = 0; k < k_profile_length; ++k) {
        const double relative = psf.value(k_profile_step_px * static_cast<double>(k)) / peak;
        profile.push_back(static_cast<float>(std::max(k_ln_profile_floor, std::log(relative)) / 4));
    }
    profile.push_back(static_cast<float>(peak));
    return profile;
}

void add_star_channels(SourceWindows& windows, double compression_scale) {
    if (windows.given.is_cuda()) return add_star_channels_by_tensors(windows, compression_scale);
    set_star(windows, star_model(windows, compression_scale));
}

void add_star_channels_by_tensors(SourceWindows& windows, double compression_scale) {
    set_star(windows, star_model_of_tensors(windows, compression_scale));
}

}  // namespace bliss::encoder
