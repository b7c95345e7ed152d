#include "bliss/survey/sdss_files.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/fits/file.hpp"

#include <cmath>

namespace bliss::survey {
namespace {

constexpr std::int64_t k_bands = 5;

/// A fresh file whose header says which field it belongs to. The field's number is "FRAME" in frames, elsewhere "FIELD".
void write_identity(fits::FitsFile& file, const FieldId& id, const std::string& field_key) {
    file.write_key("RUN", std::int64_t{id.run}, "Run number");
    file.write_key("CAMCOL", std::int64_t{id.camcol}, "Column in the imaging camera");
    file.write_key(field_key, std::int64_t{id.field}, "Field sequence number within the run");
}

fits::FitsFile create(const std::filesystem::path& path) {
    create_output_folder(path.parent_path());
    return fits::FitsFile::create(path);
}

/// A column of one row: the same value in all five bands.
fits::Column in_all_bands(std::string name, double value) {
    return {std::move(name), "", "", std::vector<float>(k_bands, static_cast<float>(value)), {k_bands}};
}

/// The sky's grid: node i of n lies at pixel i / (n - 1) * (side - 1), so that a plane comes back as it was.
constexpr std::int64_t k_sky_rows = 192, k_sky_cols = 256;

std::vector<float> grid_positions(std::int64_t side, std::int64_t nodes) {
    std::vector<float> positions(static_cast<std::size_t>(side));
    for (std::int64_t i = 0; i < side; ++i) {
        positions[static_cast<std::size_t>(i)] =
            static_cast<float>(static_cast<double>(i * (nodes - 1)) / static_cast<double>(std::max<std::int64_t>(side - 1, 1)));
    }
    return positions;
}

/// Variance that the detector adds to every pixel, electrons squared.
double pedestal_e(const SdssDetector& detector) {
    return detector.dark_variance_counts2 * detector.gain_e_per_count * detector.gain_e_per_count;
}

std::vector<float> sky_counts(const SdssExposure& exposure) {
    std::vector<float> sky;
    for (std::int64_t row = 0; row < k_sky_rows; ++row) {
        for (std::int64_t col = 0; col < k_sky_cols; ++col) {
            const double background = exposure.sky.at(row, col, k_sky_rows, k_sky_cols);
            sky.push_back(static_cast<float>((background - pedestal_e(exposure.detector)) / exposure.detector.gain_e_per_count));
        }
    }
    return sky;
}

/// Big-endian 16-bit number.
void append(std::vector<std::uint8_t>& bytes, std::int64_t number) {
    bytes.push_back(static_cast<std::uint8_t>(number >> 8));
    bytes.push_back(static_cast<std::uint8_t>(number));
}

/// Triples (row, first column, last column) of all pixels that are not valid.
std::vector<std::uint8_t> spans_of(const Image<std::uint8_t>& valid) {
    std::vector<std::uint8_t> spans;
    for (std::int64_t row = 0; row < valid.height(); ++row) {
        for (std::int64_t col = 0; col < valid.width(); ++col) {
            if (valid(row, col)) continue;
            const std::int64_t first = col;
            while (col + 1 < valid.width() && !valid(row, col + 1)) ++col;
            append(spans, row);
            append(spans, first);
            append(spans, col);
        }
    }
    return spans;
}

}  // namespace

double SkyPlane::at(std::int64_t row, std::int64_t col, std::int64_t height, std::int64_t width) const {
    const auto off_centre = [](std::int64_t i, std::int64_t side) {
        return side > 1 ? static_cast<double>(i) / static_cast<double>(side - 1) - 0.5 : 0;
    };
    return centre_e * (1 + slope_x * off_centre(col, width) + slope_y * off_centre(row, height));
}

void write_sdss_frame(const std::filesystem::path& path, const SdssExposure& exposure) {
    const std::int64_t height = exposure.electrons.height(), width = exposure.electrons.width();
    Image<float> nmgy{height, width};
    for (std::int64_t row = 0; row < height; ++row) {
        for (std::int64_t col = 0; col < width; ++col) {
            const double counts =
                (exposure.electrons(row, col) - exposure.sky.at(row, col, height, width)) / exposure.detector.gain_e_per_count;
            nmgy(row, col) = static_cast<float>(counts * exposure.nmgy_per_count[static_cast<std::size_t>(col)]);
        }
    }
    auto file = create(path);
    file.write_image(nmgy, {}, exposure.wcs.header_cards());
    write_identity(file, exposure.id, "FRAME");
    file.write_key("FILTER", exposure.band, "filter used");
    file.write_key("BUNIT", std::string("nanomaggy"), "1 nanomaggy = 3.631e-6 Jy");
    file.write_key("ORIGIN", std::string("bliss-mpi simulate"), "not an observation");
    file.write_vector(exposure.nmgy_per_count);
    file.write_table({}, {{"ALLSKY", "count", "", sky_counts(exposure), {k_sky_rows, k_sky_cols}},
                          {"XINTERP", "", "", grid_positions(width, k_sky_cols), {width}},
                          {"YINTERP", "", "", grid_positions(height, k_sky_rows), {height}}});
    file.commit();
}

void write_sdss_psf(const std::filesystem::path& path, const SdssExposure& exposure) {
    constexpr std::int64_t k_side = 51;  // SDSS's eigen-images
    std::vector<float> eigen_image;
    const Psf psf = Psf::from_sdss(exposure.psf);
    for (std::int64_t row = 0; row < k_side; ++row) {
        for (std::int64_t col = 0; col < k_side; ++col)
            eigen_image.push_back(static_cast<float>(psf.value(std::hypot(row - k_side / 2, col - k_side / 2))));
    }
    std::vector<float> coefficients(25, 0);
    coefficients[0] = 1;
    auto file = create(path);
    write_identity(file, exposure.id, "FIELD");
    file.write_key("FILTERS", std::string("u g r i z"), "Filters present in file");
    for (std::int64_t band = 0; band < k_bands; ++band) {
        file.write_table({}, {{"nrow_b", "", "", std::vector<std::int32_t>{1}},
                              {"ncol_b", "", "", std::vector<std::int32_t>{1}},
                              {"c", "", "", coefficients, {5, 5}},
                              {"lambda", "", "", std::vector<float>{1}},
                              {"RNROW", "", "", std::vector<std::int32_t>{k_side}},
                              {"RNCOL", "", "", std::vector<std::int32_t>{k_side}},
                              {"RROWS", "", "", std::vector<std::vector<float>>{eigen_image}}});
    }
    file.write_table({}, {{"field", "", "", std::vector<std::int32_t>{exposure.id.field}},
                          in_all_bands("psf_sigma1", exposure.psf.sigma1_px),
                          in_all_bands("psf_sigma2", exposure.psf.sigma2_px),
                          in_all_bands("psf_b", exposure.psf.b),
                          in_all_bands("psf_p0", exposure.psf.p0),
                          in_all_bands("psf_beta", exposure.psf.beta),
                          in_all_bands("psf_sigmap", exposure.psf.sigma_p_px),
                          in_all_bands("gain", exposure.detector.gain_e_per_count),
                          in_all_bands("dark_variance", exposure.detector.dark_variance_counts2)});
    file.commit();
}

void write_sdss_mask(const std::filesystem::path& path, const SdssExposure& exposure) {
    constexpr std::int32_t k_planes = 10;
    const std::vector<std::string> names{"S_MASK_INTERP",       "S_MASK_SATUR",     "S_MASK_NOTCHECKED", "S_MASK_OBJECT",
                                         "S_MASK_BRIGHTOBJECT", "S_MASK_BINOBJECT", "S_MASK_CATOBJECT",  "S_MASK_SUBTRACTED",
                                         "S_MASK_GHOST",        "S_MASK_CR"};
    const std::vector<std::uint8_t> spans = spans_of(exposure.valid);
    auto file = create(path);
    write_identity(file, exposure.id, "FIELD");
    file.write_key("MASKROWS", exposure.valid.height(), "number of rows in the mask");
    file.write_key("MASKCOLS", exposure.valid.width(), "number of columns in the mask");
    file.write_key("NPLANE", std::int64_t{k_planes}, "number of types of mask");
    constexpr std::int32_t k_span_bytes = 6;
    std::vector<std::int32_t> plane_numbers;
    for (std::int32_t plane = 0; plane < k_planes; ++plane) {
        plane_numbers.push_back(plane);
        std::vector<std::int32_t> counts;
        std::vector<std::vector<std::uint8_t>> objects;
        if (plane == 0 && !spans.empty()) {
            counts.push_back(static_cast<std::int32_t>(spans.size()) / k_span_bytes);
            objects.push_back(spans);
        }
        file.write_table({}, {{"nspan", "", "", counts}, {"s", "", "", objects}});
    }
    file.write_table({}, {{"defName", "", "", std::vector<std::string>(k_planes, "S_MASKTYPE")},
                          {"attributeName", "", "", names},
                          {"Value", "", "", plane_numbers}});
    file.commit();
}

void write_sdss_detector(const std::filesystem::path& path, const FieldId& first, std::int64_t fields, const SdssDetector& detector) {
    const auto rows = static_cast<std::size_t>(fields);
    std::vector<std::int32_t> numbers;
    for (std::int32_t i = 0; i < fields; ++i) numbers.push_back(first.field + i);
    const auto of_bands = [&](double value) { return std::vector<float>(rows * k_bands, static_cast<float>(value)); };
    auto file = create(path);
    file.write_table({}, {{"RUN", "", "", std::vector<std::int32_t>(rows, first.run)},
                          {"CAMCOL", "", "", std::vector<std::int32_t>(rows, first.camcol)},
                          {"FIELD", "", "", numbers},
                          {"GAIN", "electron / count", "", of_bands(detector.gain_e_per_count), {k_bands}},
                          {"DARK_VARIANCE", "count2", "", of_bands(detector.dark_variance_counts2), {k_bands}}});
    file.commit();
}

}  // namespace bliss::survey
