#include "bliss/inference/render.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/simulator/gaussians.hpp"
#include "bliss/simulator/renderer.hpp"

#include <fmt/format.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

namespace bliss::inference {
namespace {

/// Light below this is left out of the model image, electrons per pixel and Gaussian.
constexpr double k_tolerance_e = 0.02;
/// The picture shows every second pixel's 2 x 2 mean; white line between panels.
constexpr std::int64_t k_binning = 2;
constexpr std::int64_t k_gap_px = 8;

using Shade = std::function<double(double)>;  ///< pixel value -> brightness in 0 ... 1

/// One panel of the picture, top row last in the array (FITS counts rows from the bottom).
void draw_panel(std::vector<std::uint8_t>& picture, std::int64_t picture_width, std::int64_t left, const Image<float>& image,
                const Shade& shade) {
    const std::int64_t height = image.height() / k_binning, width = image.width() / k_binning;
    for (std::int64_t row = 0; row < height; ++row) {
        for (std::int64_t col = 0; col < width; ++col) {
            double sum = 0;
            for (std::int64_t dy = 0; dy < k_binning; ++dy) {
                for (std::int64_t dx = 0; dx < k_binning; ++dx) sum += image(row * k_binning + dy, col * k_binning + dx);
            }
            const double brightness = std::clamp(shade(sum / (k_binning * k_binning)), 0.0, 1.0);
            picture[static_cast<std::size_t>((height - 1 - row) * picture_width + left + col)] =
                static_cast<std::uint8_t>(std::lround(255 * brightness));
        }
    }
}

/// A galaxy of the row's size, axis ratio and angle, half disk and half bulge; round and of the prior's median size where the catalogue
/// holds no shapes.
simulator::GalaxyShape shape_of(const catalog::SourceRow& row, double flux_e, const simulator::PriorConfig& prior) {
    if (std::isnan(row.half_light_radius_px)) return simulator::median_shape(prior, flux_e);
    const double major_px = row.half_light_radius_px / std::sqrt(row.axis_ratio);  // the radius is circularised
    return {0.5, row.angle_deg * std::numbers::pi / 180, major_px, row.axis_ratio, major_px, row.axis_ratio};
}

void write_picture(const std::filesystem::path& path, const survey::Frame& frame, const Image<float>& model, const Image<float>& residual) {
    Image<float> data{frame.height(), frame.width()};
    double noise = 0;
    for (std::int64_t k = 0; k < data.size(); ++k) {
        data.data()[k] = frame.valid.data()[k] ? frame.electrons.data()[k] - frame.background_e.data()[k] : 0.0f;
        noise += std::sqrt(frame.background_e.data()[k]) / static_cast<double>(data.size());
    }
    const Shade sky = [noise](double e) { return 0.15 + 0.13 * std::asinh(e / noise); };
    const Shade sigmas = [](double s) { return 0.5 + s / 12; };  // white at +6 sigma
    const std::int64_t panel = frame.width() / k_binning, height = frame.height() / k_binning;
    const std::int64_t width = 3 * panel + 2 * k_gap_px;
    std::vector<std::uint8_t> picture(static_cast<std::size_t>(width * height), 255);
    draw_panel(picture, width, 0, data, sky);
    draw_panel(picture, width, panel + k_gap_px, model, sky);
    draw_panel(picture, width, 2 * (panel + k_gap_px), residual, sigmas);
    std::string png;
    const auto append = [](void* to, void* bytes, int count) {
        static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), static_cast<std::size_t>(count));
    };
    stbi_write_png_to_func(append, &png, static_cast<int>(width), static_cast<int>(height), 1, picture.data(), static_cast<int>(width));
    write_file(path, png);
}

}  // namespace

Image<float> render_sources(std::span<const simulator::Source> sources, const survey::Frame& frame) {
    simulator::GaussianLists lists;
    for (const simulator::Source& source : sources) simulator::append_gaussians(source, frame.psf, k_tolerance_e, lists.gaussians);
    lists.first.push_back(static_cast<std::int64_t>(lists.gaussians.size()));
    Image<float> image{frame.height(), frame.width()};
    simulator::render(lists, {image.data(), 1, frame.height(), frame.width()});
    return image;
}

Image<float> render_model(std::span<const catalog::SourceRow> sources, const survey::Frame& frame, const RenderOptions& options) {
    std::vector<simulator::Source> drawn;
    for (const catalog::SourceRow& row : sources) {
        if (row.p_source < options.threshold) continue;
        simulator::Source source{row.x_px, row.y_px, row.p_star >= 0.5, std::exp(row.ln_flux_e)};
        if (!source.is_star) source.light = simulator::light_of(shape_of(row, source.flux_e, options.prior));
        drawn.push_back(std::move(source));
    }
    return render_sources(drawn, frame);
}

Image<float> residual_sigma(const survey::Frame& frame, const Image<float>& model) {
    Image<float> residual{frame.height(), frame.width()};
    for (std::int64_t k = 0; k < residual.size(); ++k) {
        if (!frame.valid.data()[k]) continue;
        const float expected = frame.background_e.data()[k] + model.data()[k];
        residual.data()[k] = (frame.electrons.data()[k] - expected) / std::sqrt(expected);
    }
    return residual;
}

void write_render(const std::filesystem::path& folder, const survey::Frame& frame, const Image<float>& model) {
    create_output_folder(folder);
    const std::string cards = frame.wcs ? frame.wcs->header_cards() : std::string{};
    const double electrons_per_nmgy = frame.electrons_per_nmgy[frame.electrons_per_nmgy.size() / 2];
    const Image<float> residual = residual_sigma(frame, model);
    const auto write = [&](const char* name, const Image<float>& image, const char* unit, const char* about) {
        auto file = fits::FitsFile::create(folder / name);
        file.write_image(image, {}, cards);
        file.write_key("BUNIT", std::string(unit), about);
        file.write_key("EPERNMGY", electrons_per_nmgy, "[electron/nmgy] calibration at the middle column");
        file.commit();
    };
    write("model.fits", model, "electron", "expected photo-electrons of the sources");
    write("residual.fits", residual, "sigma", "(data - background - model) / sqrt(expected)");
    write_picture(folder / "residual.png", frame, model, residual);
}

}  // namespace bliss::inference
