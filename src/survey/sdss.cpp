#include "bliss/survey/sdss.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/log.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/survey/sdss_tree.hpp"
#include "sdss_mask.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bliss::survey {
namespace {

/// Position of a band in SDSS's arrays of five.
std::int64_t band_index(const std::string& band) {
    constexpr std::string_view k_bands = "ugriz";
    const auto index = band.size() == 1 ? k_bands.find(band) : std::string_view::npos;
    if (index == std::string_view::npos) throw DataError(fmt::format("SDSS has no band '{}'; use one of u g r i z", band));
    return static_cast<std::int64_t>(index);
}

/// A file that was given another's name would be believed: its header says whose it is.
/// @param field_key where the header has the field's number, FRAME or FIELD. @throws DataError
void check_identity(fits::FitsFile& file, const SdssField& field, const std::string& field_key) {
    const auto check = [&](const std::string& key, std::int64_t wanted) {
        const auto found = file.find_key<std::int64_t>(key);
        if (!found || *found == wanted) return;
        throw DataError(fmt::format("{}: its header says {} = {}, {} was expected: the file is another field's; fetch it again",
                                    file.path().string(), key, *found, wanted));
    };
    check("RUN", field.id.run);
    check("CAMCOL", field.id.camcol);
    check(field_key, field.id.field);
}

Psf read_psf(const SdssField& field, const SdssTree& tree) {
    const auto path = tree.psf(field.id);
    auto file = fits::FitsFile::open(path);
    check_identity(file, field, "FIELD");
    constexpr int k_parameters_hdu = 6;
    file.select(k_parameters_hdu);
    const std::int64_t band = band_index(field.band);
    const auto parameter = [&](const std::string& name) {
        const auto values = file.read_array_column<double>(name);
        if (values.height() < 1 || values.width() <= band) {
            throw DataError(fmt::format("{}[HDU {}]: there is no {} for band {} ({} rows of {} bands); fetch the file again",
                                        path.string(), k_parameters_hdu, name, field.band, values.height(), values.width()));
        }
        return values(0, band);
    };
    const Psf::SdssParameters parameters{.sigma1_px = parameter("PSF_SIGMA1"),
                                         .sigma2_px = parameter("PSF_SIGMA2"),
                                         .b = parameter("PSF_B"),
                                         .sigma_p_px = parameter("PSF_SIGMAP"),
                                         .beta = parameter("PSF_BETA"),
                                         .p0 = parameter("PSF_P0")};
    try {
        return Psf::from_sdss(parameters);
    } catch (const DataError& error) {
        throw DataError(fmt::format("{}[HDU {}]: band {}: {}; PHOTO found no PSF here, leave this frame out", path.string(),
                                    k_parameters_hdu, field.band, error.what()));
    }
}

struct Detector {
    double gain_e_per_count = 0;
    double dark_variance_e2 = 0;
};

Detector read_detector(const SdssField& field, const SdssTree& tree) {
    const auto path = tree.detector(field.id);
    auto file = fits::FitsFile::open(path);
    file.select(1);
    const auto fields = file.read_column<std::int64_t>("FIELD");
    const auto found = std::find(fields.begin(), fields.end(), field.id.field);
    if (found == fields.end()) {
        throw DataError(
            fmt::format("{}[HDU 1]: there is no row with FIELD = {}; use the photoField of the same run and column",
                        path.string(), field.id.field));
    }
    const std::int64_t row = found - fields.begin();
    const std::int64_t band = band_index(field.band);
    const auto value = [&](const std::string& name) {
        const auto values = file.read_array_column<double>(name);
        if (values.width() <= band) {
            throw DataError(fmt::format("{}[HDU 1]: {} has {} bands, five are wanted", path.string(), name, values.width()));
        }
        return values(row, band);
    };
    const double gain = value("GAIN");
    const double dark_variance_counts2 = value("DARK_VARIANCE");
    if (!(std::isfinite(gain) && gain > 0 && std::isfinite(dark_variance_counts2) && dark_variance_counts2 >= 0)) {
        throw DataError(
            fmt::format("{}[HDU 1]: field {}, band {}: gain {} and dark variance {} are not usable; leave this "
                        "frame out",
                        path.string(), field.id.field, field.band, gain, dark_variance_counts2));
    }
    return {gain, dark_variance_counts2 * gain * gain};
}

/// Where a position falls between two nodes of the sky's grid, clipped to the grid.
struct GridPoint {
    std::int64_t low = 0;
    std::int64_t high = 0;
    float high_share = 0;
};

/// @throws DataError naming `where` for a position that is not finite.
std::vector<GridPoint> grid_points(const Image<float>& positions, std::int64_t nodes, const std::string& where) {
    std::vector<GridPoint> points;
    for (const float position : positions.pixels()) {
        if (!std::isfinite(position)) throw DataError(where + ": a position of the sky's grid is not a number; fetch the file again");
        const float clipped = std::clamp(position, 0.0F, static_cast<float>(nodes - 1));
        const auto low = static_cast<std::int64_t>(clipped);
        points.push_back({low, std::min(low + 1, nodes - 1), clipped - static_cast<float>(low)});
    }
    return points;
}

/// Sky in counts at every pixel. @source SDSS frame HDU 2: ALLSKY interpolated bilinearly at XINTERP, YINTERP.
Image<float> read_sky(fits::FitsFile& file, std::int64_t height, std::int64_t width) {
    constexpr int k_sky_hdu = 2;
    file.select(k_sky_hdu);
    const auto shape = file.column_shape("ALLSKY");
    const auto flat = file.read_array_column<float>("ALLSKY");
    const auto x = file.read_array_column<float>("XINTERP");
    const auto y = file.read_array_column<float>("YINTERP");
    if (shape.size() != 2 || flat.height() != 1 || flat.size() == 0 || x.size() != width || y.size() != height) {
        throw DataError(
            fmt::format("{}[HDU {}]: the sky is given for {} rows and {} columns, the image has shape [{}, {}]; use "
                        "files of the same frame",
                        file.path().string(), k_sky_hdu, y.size(), x.size(), height, width));
    }
    const std::int64_t nodes_x = shape[1];
    const auto at = [&](std::int64_t row, std::int64_t col) { return flat(0, row * nodes_x + col); };
    const std::string where = fmt::format("{}[HDU {}]", file.path().string(), k_sky_hdu);
    const auto columns = grid_points(x, nodes_x, where + ", XINTERP");
    const auto rows = grid_points(y, shape[0], where + ", YINTERP");
    Image<float> sky(height, width);
    for (std::int64_t row = 0; row < height; ++row) {
        const auto& v = rows[static_cast<std::size_t>(row)];
        for (std::int64_t col = 0; col < width; ++col) {
            const auto& u = columns[static_cast<std::size_t>(col)];
            const float below = at(v.low, u.low) + u.high_share * (at(v.low, u.high) - at(v.low, u.low));
            const float above = at(v.high, u.low) + u.high_share * (at(v.high, u.high) - at(v.high, u.low));
            sky(row, col) = below + v.high_share * (above - below);
        }
    }
    return sky;
}

/// @return whether there is a mask file
bool apply_mask_file(const SdssField& field, const SdssTree& tree, Image<std::uint8_t>& valid) {
    const auto path = tree.mask(field.id, field.band);
    std::error_code none;
    if (!std::filesystem::exists(path, none)) {
        spdlog::warn("{}: no mask file; saturated stars and cosmic rays of field {} stay unmasked", path.string(),
                     to_string(field.id));
        return false;
    }
    auto file = fits::FitsFile::open(path);
    check_identity(file, field, "FIELD");
    apply_sdss_mask(file, valid);
    return true;
}

}  // namespace

Frame read_sdss_frame(const SdssField& field) {
    band_index(field.band);
    const SdssTree tree{field.folder, field.rerun};
    const auto path = tree.frame(field.id, field.band);
    std::error_code none;
    if (!std::filesystem::exists(path, none)) {
        throw FitsError(
            fmt::format("{}: opening: no such file, nor with .bz2 or .gz, in the folder or where the survey's archive has it; check the "
                        "folder and the field's number",
                        path.string()));
    }
    auto file = fits::FitsFile::open(path);
    check_identity(file, field, "FRAME");
    if (const auto filter = file.find_key<std::string>("FILTER"); filter && *filter != field.band) {
        throw DataError(
            fmt::format("{}: its header says FILTER = {}, {} was expected; fetch it again", path.string(), *filter, field.band));
    }
    Image<float> electrons = file.read_image<float>();
    const auto [cards, card_count] = file.header_cards();
    const std::int64_t height = electrons.height();
    const std::int64_t width = electrons.width();

    file.select(1);
    const auto nmgy_per_count = file.read_vector<float>();
    if (static_cast<std::int64_t>(nmgy_per_count.size()) != width) {
        throw DataError(fmt::format("{}[HDU 1]: the calibration has {} columns, the image {}; fetch the file again",
                                    path.string(), nmgy_per_count.size(), width));
    }
    Image<float> background = read_sky(file, height, width);
    const auto detector = read_detector(field, tree);
    const auto gain = static_cast<float>(detector.gain_e_per_count);
    const auto pedestal = static_cast<float>(detector.dark_variance_e2);

    Image<std::uint8_t> valid(height, width, 1);
    for (std::int64_t row = 0; row < height; ++row) {
        for (std::int64_t col = 0; col < width; ++col) {
            float& background_e = background(row, col);
            float& pixel = electrons(row, col);
            background_e = background_e * gain + pedestal;
            pixel = pixel / nmgy_per_count[static_cast<std::size_t>(col)] * gain + background_e;
        }
    }
    const bool has_mask = apply_mask_file(field, tree, valid);

    std::vector<float> electrons_per_nmgy;
    for (const float calibration : nmgy_per_count) electrons_per_nmgy.push_back(gain / calibration);
    Frame frame{.id = field.id,
                .band = field.band,
                .electrons = std::move(electrons),
                .background_e = std::move(background),
                .valid = std::move(valid),
                .electrons_per_nmgy = std::move(electrons_per_nmgy),
                .psf = read_psf(field, tree),
                .wcs = Wcs::from_header(cards, card_count, path.string()),
                .source = path.string(),
                .has_mask = has_mask};
    mask_blank_pixels(frame);
    check_frame(frame);
    return frame;
}

}  // namespace bliss::survey
