#include "bliss/survey/generic.hpp"

#include "background.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/log.hpp"
#include "bliss/core/units.hpp"
#include "bliss/fits/file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace bliss::survey {
namespace {

Psf make_psf(const GenericImageConfig& config) {
    const auto require = [](bool condition, const std::string& message) {
        if (!condition) throw ConfigError(message);
    };
    if (config.psf == PsfKind::mixture) {
        require(!config.psf_weights.empty() && config.psf_weights.size() == config.psf_sigmas_px.size(),
                fmt::format("psf_weights has {} values and psf_sigmas_px {}; a mixture needs as many of each, at least one",
                            config.psf_weights.size(), config.psf_sigmas_px.size()));
        std::vector<PsfComponent> components;
        for (std::size_t i = 0; i < config.psf_weights.size(); ++i) {
            components.push_back({config.psf_weights[i], config.psf_sigmas_px[i]});
        }
        return Psf(std::move(components));
    }
    require(config.psf_fwhm_px > 0,
            fmt::format("psf_fwhm_px is {}; give the PSF's full width at half maximum in pixels", config.psf_fwhm_px));
    if (config.psf == PsfKind::gaussian) return Psf::from_fwhm(config.psf_fwhm_px);
    require(config.psf_moffat_beta > 1, fmt::format("psf_moffat_beta is {}; it must be above 1", config.psf_moffat_beta));
    return Psf::from_moffat(config.psf_fwhm_px, config.psf_moffat_beta);
}

/// Electrons per count of the image.
double electrons_per_count(const GenericImageConfig& config) {
    if (config.unit == "electrons") return 1;
    if (config.unit != "adu") throw ConfigError(fmt::format("unit is '{}'; use \"adu\" or \"electrons\"", config.unit));
    if (!(config.gain_e_per_adu > 0)) {
        throw ConfigError(fmt::format("gain_e_per_adu is {}; it must be positive", config.gain_e_per_adu));
    }
    return config.gain_e_per_adu;
}

/// A path of the configuration's, where "{stem}" stands for the image's name without its suffix.
std::filesystem::path companion_path(const GenericImageConfig& config, const std::filesystem::path& folder, std::string text) {
    constexpr std::string_view k_stem = "{stem}";
    const std::string stem = std::filesystem::path{config.image}.stem().string();
    for (std::size_t at = 0; (at = text.find(k_stem, at)) != std::string::npos; at += stem.size()) text.replace(at, k_stem.size(), stem);
    return folder / text;
}

/// An image that goes with the main one: the first HDU of the file that holds an image, of the same shape.
template <class T>
Image<T> read_companion(const std::filesystem::path& path, const Image<float>& image, std::string_view what) {
    auto file = fits::FitsFile::open(path);
    for (int hdu = 0; hdu + 1 < file.hdu_count() && (file.is_table() || file.image_shape().empty()); ++hdu)
        file.select(hdu + 1);
    auto companion = file.read_image<T>();
    if (companion.height() != image.height() || companion.width() != image.width()) {
        throw DataError(fmt::format("{}: the {} has shape [{}, {}], the image [{}, {}]; use files of the same frame",
                                    path.string(), what, companion.height(), companion.width(), image.height(),
                                    image.width()));
    }
    return companion;
}

/// Pixels to use: finite, below saturation, not masked.
Image<std::uint8_t> usable_pixels(const GenericImageConfig& config, const std::filesystem::path& folder,
                                  const Image<float>& image) {
    Image<std::uint8_t> valid(image.height(), image.width(), 1);
    for (std::int64_t row = 0; row < image.height(); ++row) {
        for (std::int64_t col = 0; col < image.width(); ++col) {
            const float value = image(row, col);
            const bool saturated = config.saturation > 0 && value >= static_cast<float>(config.saturation);
            if (!std::isfinite(value) || saturated) valid(row, col) = 0;
        }
    }
    if (config.mask_image.empty()) return valid;
    // As doubles: masks come as bytes, as flags of 32 bits and as floating-point numbers.
    const auto mask = read_companion<double>(companion_path(config, folder, config.mask_image), image, "mask");
    for (std::int64_t row = 0; row < image.height(); ++row) {
        for (std::int64_t col = 0; col < image.width(); ++col) {
            if (mask(row, col) != 0) valid(row, col) = 0;
        }
    }
    return valid;
}

/// Background in counts per pixel.
Image<float> make_background(const GenericImageConfig& config, const std::filesystem::path& folder,
                             const Image<float>& image, const Image<std::uint8_t>& valid) {
    switch (config.background) {
        case BackgroundMode::value:
            return Image<float>(image.height(), image.width(), static_cast<float>(config.background_value));
        case BackgroundMode::image:
            return read_companion<float>(companion_path(config, folder, config.background_image), image, "background");
        case BackgroundMode::estimate:
            break;
    }
    if (config.sky_subtracted) {
        throw ConfigError(
            "background = \"estimate\" needs an image that holds its sky, but sky_subtracted is true; give the "
            "sky that was subtracted as background = \"value\" or \"image\": it sets the noise");
    }
    return estimate_background(image, valid);
}

/// @throws DataError where the header's unit is none that the configuration can mean.
void check_unit(fits::FitsFile& file, const GenericImageConfig& config) {
    auto unit = file.find_key<std::string>("BUNIT").value_or("");
    std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::tolower(c); });
    const bool electrons = unit.starts_with("electron") || unit == "e" || unit == "e-";
    const bool counts = unit.starts_with("adu") || unit.starts_with("count") || unit == "dn";
    if (unit.empty() || (config.unit == "electrons" ? electrons : counts)) return;
    throw DataError(fmt::format("{}: its header says BUNIT = '{}', the configuration unit = \"{}\"; correct one, or convert the image",
                                file.path().string(), unit, config.unit));
}

std::optional<Wcs> read_wcs(fits::FitsFile& file, const std::string& source) {
    if (!file.find_key<std::string>("CTYPE1")) return std::nullopt;
    const auto [cards, count] = file.header_cards();
    try {
        return Wcs::from_header(cards, count, source);
    } catch (const DataError& error) {
        spdlog::warn("{}; the catalogue gets no sky positions", error.what());
        return std::nullopt;
    }
}

}  // namespace

void describe(ConfigVisitor& visitor, GenericImageConfig& config) {
    visitor.field("image", config.image, "path of the FITS image, from this file's folder");
    visitor.field("hdu", config.hdu, "HDU of the image, 0 is the primary one", Range{0, 9999});
    visitor.field("band", config.band, "name of the band");
    visitor.field("unit", config.unit, "what a pixel counts: adu or electrons");
    visitor.field("gain_e_per_adu", config.gain_e_per_adu, "electrons per adu", k_positive);
    visitor.field("zero_point_mag", config.zero_point_mag, "AB magnitude of one count (adu or electron, as unit)",
                  Range{-100, 100});
    visitor.field("sky_subtracted", config.sky_subtracted, "the sky has been subtracted from the image");
    static constexpr Choice<BackgroundMode> k_modes[] = {
        {"estimate", BackgroundMode::estimate}, {"value", BackgroundMode::value}, {"image", BackgroundMode::image}};
    visitor.choice("background", config.background, "where the sky level comes from", k_modes);
    visitor.field("background_value", config.background_value, "sky in counts per pixel, for background = \"value\"",
                  k_not_negative);
    visitor.field("background_image", config.background_image,
                  "path of the sky image in counts per pixel, for background = \"image\"; {stem}: the image's name without suffix");
    visitor.field("read_noise_e", config.read_noise_e, "read noise, electrons per pixel", k_not_negative);
    visitor.field("saturation", config.saturation, "counts from which a pixel is not used; 0: none", k_not_negative);
    visitor.field("mask_image", config.mask_image,
                  "path of an image whose pixels other than 0 are not used ({stem} as above); empty: none");
    static constexpr Choice<PsfKind> k_kinds[] = {
        {"gaussian", PsfKind::gaussian}, {"moffat", PsfKind::moffat}, {"mixture", PsfKind::mixture}};
    visitor.choice("psf", config.psf, "shape of the PSF", k_kinds);
    visitor.field("psf_fwhm_px", config.psf_fwhm_px, "full width at half maximum, pixels, for gaussian and moffat",
                  k_not_negative);
    visitor.field("psf_moffat_beta", config.psf_moffat_beta, "exponent of the Moffat profile", Range{1.01, 1000});
    visitor.field("psf_weights", config.psf_weights, "shares of the flux, for mixture", k_positive);
    visitor.field("psf_sigmas_px", config.psf_sigmas_px, "standard deviations, pixels, for mixture", k_positive);
}

Frame read_generic_frame(const GenericImageConfig& config, const std::filesystem::path& folder, FieldId id) {
    if (config.image.empty()) throw ConfigError("image is empty; give the path of a FITS image");
    const double gain = electrons_per_count(config);
    Psf psf = make_psf(config);
    const auto path = folder / config.image;
    auto file = fits::FitsFile::open(path);
    file.select(static_cast<int>(config.hdu));
    check_unit(file, config);
    Image<float> pixels = file.read_image<float>();
    auto wcs = read_wcs(file, path.string());

    Image<std::uint8_t> valid = usable_pixels(config, folder, pixels);
    Image<float> background = make_background(config, folder, pixels, valid);
    // Read noise acts as background without counts of its own: added to both, it leaves their difference as it is.
    const double pedestal_e = config.read_noise_e * config.read_noise_e;
    for (std::int64_t row = 0; row < pixels.height(); ++row) {
        for (std::int64_t col = 0; col < pixels.width(); ++col) {
            const double sky_e = background(row, col) * gain;
            background(row, col) = static_cast<float>(sky_e + pedestal_e);
            pixels(row, col) = static_cast<float>(pixels(row, col) * gain + (config.sky_subtracted ? sky_e : 0) + pedestal_e);
        }
    }
    // One count has the zero point's magnitude.
    const double electrons_per_nmgy = gain / nmgy_from_magnitude(config.zero_point_mag);
    Frame frame{.id = id,
                .band = config.band,
                .electrons = std::move(pixels),
                .background_e = std::move(background),
                .valid = std::move(valid),
                .electrons_per_nmgy = {},
                .psf = std::move(psf),
                .wcs = std::move(wcs),
                .source = path.string(),
                .has_mask = !config.mask_image.empty()};
    frame.electrons_per_nmgy.assign(static_cast<std::size_t>(frame.width()), static_cast<float>(electrons_per_nmgy));
    mask_blank_pixels(frame);
    check_frame(frame);
    return frame;
}

}  // namespace bliss::survey
