#include "bliss/evaluation/truth.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/units.hpp"
#include "bliss/evaluation/field_plane.hpp"
#include "bliss/fits/file.hpp"

#include <string_view>

namespace bliss::evaluation {

namespace {

constexpr std::string_view k_sdss_bands = "ugriz";

/// The first table in the file. @throws DataError
void select_first_table(fits::FitsFile& file) {
    for (int hdu = 0; hdu < file.hdu_count(); ++hdu) {
        file.select(hdu);
        if (file.is_table()) return;
    }
    throw DataError(file.path().string() + ": holds no table of sources");
}

void require_columns(fits::FitsFile& file, std::initializer_list<std::string> names) {
    for (const std::string& name : names)
        if (!name.empty() && !file.has_column(name))
            throw DataError(file.path().string() + ": the table of true sources has no column " + name +
                            "; name its columns with --x-column and so on");
}

}  // namespace

std::vector<TruthSource> read_simulated_truth(const std::filesystem::path& path) {
    auto file = fits::FitsFile::open(path);
    file.select("TRUTH");
    require_columns(file, {"X_PX", "Y_PX", "FLUX_NMGY", "MAG", "IS_STAR", "LABELLED"});
    const auto x = file.read_column<double>("X_PX");
    const auto y = file.read_column<double>("Y_PX");
    const auto flux = file.read_column<double>("FLUX_NMGY");
    const auto mag = file.read_column<double>("MAG");
    const auto star = file.read_column<std::int32_t>("IS_STAR");
    const auto labelled = file.read_column<std::int32_t>("LABELLED");
    // Tables of versions before 0.3 have no shapes.
    const auto shape = [&](const std::string& column) {
        return file.has_column(column) ? file.read_column<double>(column) : std::vector<double>(x.size(), catalog::k_nan);
    };
    const auto radius = shape("R_HALF_PX"), axis_ratio = shape("AXIS_RATIO");
    std::vector<TruthSource> truth;
    for (std::size_t i = 0; i < x.size(); ++i) {
        TruthSource& source =
            truth.emplace_back(TruthSource{x[i], y[i], flux[i], mag[i], star[i] ? TruthKind::star : TruthKind::galaxy, labelled[i] != 0});
        if (star[i]) continue;
        source.half_light_radius_px = radius[i];
        source.axis_ratio = axis_ratio[i];
    }
    return truth;
}

std::vector<TruthSource> read_photo_obj(const std::filesystem::path& path, const std::string& band) {
    const std::size_t at = band.size() == 1 ? k_sdss_bands.find(band) : std::string_view::npos;
    if (at == std::string_view::npos)
        throw DataError(path.string() + ": PHOTO's catalogue has bands u g r i z, not \"" + band + "\"");
    const auto b = static_cast<std::int64_t>(at);
    auto file = fits::FitsFile::open(path);
    select_first_table(file);
    require_columns(file, {"OBJC_TYPE", "OBJC_FLAGS", "NCHILD", "THING_ID", "ROWC", "COLC", "PSFFLUX", "CMODELFLUX"});
    const auto type = file.read_column<std::int32_t>("OBJC_TYPE");
    const auto flags = file.read_column<std::int32_t>("OBJC_FLAGS");
    const auto children = file.read_column<std::int32_t>("NCHILD");
    const auto thing = file.read_column<std::int32_t>("THING_ID");
    const auto row = file.read_array_column<double>("ROWC");
    const auto col = file.read_array_column<double>("COLC");
    const auto psf_flux = file.read_array_column<double>("PSFFLUX");
    const auto model_flux = file.read_array_column<double>("CMODELFLUX");

    // PHOTO's codes: OBJC_TYPE 3 galaxy, 6 star, 8 sky; OBJC_FLAGS bit 1 BRIGHT (a first pass over bright sources, found
    // again afterwards), bit 18 SATUR.
    constexpr std::int32_t k_bright = 1 << 1;
    constexpr std::int32_t k_saturated = 1 << 18;
    std::vector<TruthSource> truth;
    for (std::size_t i = 0; i < type.size(); ++i) {
        if (children[i] > 0 || (flags[i] & k_bright) || type[i] == 8) continue;
        const auto r = static_cast<std::int64_t>(i);
        TruthSource source;
        source.x_px = col(r, b) - 0.5;
        source.y_px = row(r, b) - 0.5;
        source.kind = type[i] == 6 ? TruthKind::star : type[i] == 3 ? TruthKind::galaxy : TruthKind::unknown;
        source.flux_nmgy = source.kind == TruthKind::galaxy ? model_flux(r, b) : psf_flux(r, b);
        source.mag = magnitude_from_nmgy(source.flux_nmgy);
        source.labelled =
            thing[i] >= 0 && source.kind != TruthKind::unknown && source.flux_nmgy > 0 && !(flags[i] & k_saturated);
        truth.push_back(source);
    }
    return truth;
}

std::vector<TruthSource> read_table_truth(const std::filesystem::path& path, const catalog::FieldRow& field,
                                          const TruthColumns& columns) {
    const bool in_pixels = !columns.x.empty();
    if ((in_pixels ? columns.y : columns.dec).empty() || (!in_pixels && columns.ra.empty()) ||
        columns.mag.empty() == columns.flux.empty())
        throw ConfigError(path.string() +
                          ": name the columns of the true positions (x and y, or ra and dec) and of mag or flux");
    auto file = fits::FitsFile::open(path);
    select_first_table(file);
    require_columns(file, {columns.x, columns.y, columns.ra, columns.dec, columns.mag, columns.flux, columns.type});
    const auto first = file.read_column<double>(in_pixels ? columns.x : columns.ra);
    const auto second = file.read_column<double>(in_pixels ? columns.y : columns.dec);
    const auto brightness = file.read_column<double>(columns.mag.empty() ? columns.flux : columns.mag);
    const auto type = columns.type.empty() ? std::vector<double>{} : file.read_column<double>(columns.type);

    std::vector<TruthSource> truth(first.size());
    for (std::size_t i = 0; i < truth.size(); ++i) {
        TruthSource& source = truth[i];
        source.x_px = first[i];
        source.y_px = second[i];
        source.flux_nmgy = columns.mag.empty() ? brightness[i] : nmgy_from_magnitude(brightness[i]);
        source.mag = columns.mag.empty() ? magnitude_from_nmgy(brightness[i]) : brightness[i];
        if (!type.empty()) source.kind = type[i] == columns.star_value ? TruthKind::star : TruthKind::galaxy;
    }
    if (!in_pixels) {
        const FieldPlane plane{field};
        for (TruthSource& source : truth) {
            const auto pixel = plane.pixel({source.x_px, source.y_px});
            source.x_px = pixel.x_px;
            source.y_px = pixel.y_px;
        }
    }
    return truth;
}

std::vector<TruthSource> read_truth(const std::filesystem::path& path, const catalog::FieldRow& field,
                                    const TruthColumns& columns) {
    if (columns.given()) return read_table_truth(path, field, columns);
    auto file = fits::FitsFile::open(path);
    if (file.has_hdu("TRUTH")) return read_simulated_truth(path);
    select_first_table(file);
    if (file.has_column("OBJC_TYPE") && file.has_column("ROWC"))
        return read_photo_obj(path, std::string{catalog::text_of(field.band)});
    throw ConfigError(path.string() +
                      ": neither simulated truth nor PHOTO's catalogue; name its columns of x and y (or ra and "
                      "dec) and mag (or flux)");
}

}  // namespace bliss::evaluation
