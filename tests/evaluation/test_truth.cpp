#include "bliss/evaluation/truth.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/units.hpp"
#include "bliss/evaluation/field_plane.hpp"
#include "bliss/fits/file.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>

using namespace bliss;
using namespace bliss::evaluation;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

namespace {

/// First 200 rows and ten columns of SDSS's photoObj-000094-1-0012.fits (public domain).
const std::filesystem::path k_photo = std::filesystem::path{BLISS_SOURCE_ROOT} / "tests/evaluation/photo_obj_200_rows.fits";

catalog::FieldRow field_in_band(const char* band) {
    catalog::FieldRow field{};
    catalog::set_text(field.band, band);
    field.width_px = 2048;
    field.height_px = 1489;
    return field;
}

/// A field with the corners that a WCS gives it.
catalog::FieldRow field_on_sky(const survey::Wcs& wcs) {
    catalog::FieldRow field = field_in_band("r");
    const double right = static_cast<double>(field.width_px - 1);
    const double top = static_cast<double>(field.height_px - 1);
    const survey::PixelPosition corners[] = {{0, 0}, {right, 0}, {right, top}, {0, top}};
    for (int i = 0; i < 4; ++i) {
        const auto sky = wcs.sky(corners[i]);
        field.corner_ra_deg[i] = sky.ra_deg;
        field.corner_dec_deg[i] = sky.dec_deg;
    }
    const auto centre = wcs.sky({right / 2, top / 2});
    field.ra_deg = centre.ra_deg;
    field.dec_deg = centre.dec_deg;
    return field;
}

/// Two sources as a table with the names given.
void write_table(const std::filesystem::path& path, const std::string& extname, std::vector<fits::Column> columns) {
    auto file = fits::FitsFile::create(path);
    file.write_table(extname, columns);
    file.commit();
}

using Doubles = std::vector<double>;

template <class Work>
std::string error_of(Work&& work) {
    try {
        (void)work();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

}  // namespace

TEST_CASE("PHOTO's rows are selected and placed as astropy finds them") {
    // Counts and values from the same file through astropy, with the rules of read_photo_obj written in numpy.
    const auto truth = read_truth(k_photo, field_in_band("r"));
    REQUIRE(truth.size() == 112);
    const auto labelled_of = [&](TruthKind kind) {
        return std::ranges::count_if(truth,
                                     [&](const TruthSource& source) { return source.labelled && source.kind == kind; });
    };
    CHECK(labelled_of(TruthKind::star) == 72);
    CHECK(labelled_of(TruthKind::galaxy) == 21);
    CHECK(labelled_of(TruthKind::unknown) == 0);
    const TruthSource& star = truth[0];
    CHECK(star.kind == TruthKind::star);
    CHECK_THAT(star.x_px, WithinAbs(2007.951050, 1e-5));
    CHECK_THAT(star.y_px, WithinAbs(86.790413, 1e-5));
    CHECK_THAT(star.mag, WithinAbs(16.537310, 1e-5));
    const TruthSource& galaxy = truth[5];
    CHECK(galaxy.kind == TruthKind::galaxy);
    CHECK_THAT(galaxy.x_px, WithinAbs(555.321838, 1e-5));
    CHECK_THAT(galaxy.flux_nmgy, WithinAbs(17.919674, 1e-5));
}

TEST_CASE("PHOTO in another band has other positions; an unknown band is refused") {
    CHECK(std::abs(read_photo_obj(k_photo, "g")[0].y_px - read_photo_obj(k_photo, "r")[0].y_px) > 1);
    CHECK_THAT(error_of([] { return read_photo_obj(k_photo, "V"); }), ContainsSubstring("not \"V\""));
}

TEST_CASE("simulated truth is recognised by its HDU") {
    const test::TemporaryFolder folder;
    const auto path = folder / "truth.fits";
    write_table(path, "TRUTH",
                {{"X_PX", "px", "", Doubles{10, 20.5}},
                 {"Y_PX", "px", "", Doubles{30, 40}},
                 {"FLUX_E", "electron", "", Doubles{1000, 500}},
                 {"FLUX_NMGY", "nmgy", "", Doubles{1, 0.5}},
                 {"MAG", "mag", "", Doubles{22.5, 23.25}},
                 {"IS_STAR", "", "", std::vector<std::int32_t>{1, 0}},
                 {"LABELLED", "", "", std::vector<std::int32_t>{1, 0}},
                 {"R_HALF_PX", "px", "", Doubles{std::nan(""), 2.25}},
                 {"AXIS_RATIO", "", "", Doubles{std::nan(""), 0.7}}});
    const auto truth = read_truth(path, field_in_band("r"));
    REQUIRE(truth.size() == 2);
    CHECK(truth[0].kind == TruthKind::star);
    CHECK(truth[0].labelled);
    CHECK(truth[1].kind == TruthKind::galaxy);
    CHECK_FALSE(truth[1].labelled);
    CHECK(truth[1].x_px == 20.5);
    CHECK(truth[1].y_px == 40);
    CHECK(truth[1].mag == 23.25);
    CHECK(truth[1].flux_nmgy == 0.5);
    CHECK(std::isnan(truth[0].half_light_radius_px));
    CHECK(truth[1].half_light_radius_px == 2.25);
    CHECK(truth[1].axis_ratio == 0.7);

    // Tables of versions before 0.3 have no shapes.
    write_table(folder / "older.fits", "TRUTH",
                {{"X_PX", "px", "", Doubles{10}},
                 {"Y_PX", "px", "", Doubles{30}},
                 {"FLUX_NMGY", "nmgy", "", Doubles{1}},
                 {"MAG", "mag", "", Doubles{22.5}},
                 {"IS_STAR", "", "", std::vector<std::int32_t>{0}},
                 {"LABELLED", "", "", std::vector<std::int32_t>{1}}});
    const auto older = read_truth(folder / "older.fits", field_in_band("r"));
    REQUIRE(older.size() == 1);
    CHECK(std::isnan(older[0].half_light_radius_px));
    CHECK(std::isnan(older[0].axis_ratio));

    write_table(folder / "short.fits", "TRUTH", {{"X_PX", "px", "", Doubles{10}}});
    CHECK_THAT(error_of([&] { return read_truth(folder / "short.fits", field_in_band("r")); }),
               ContainsSubstring("short.fits") && ContainsSubstring("has no column Y_PX"));
}

TEST_CASE("any table reads with its columns named, in pixels or on the sky") {
    const test::TemporaryFolder folder;
    const auto path = folder / "table.fits";
    const auto wcs = survey::Wcs::tangent({210, 45}, {1023.5, 744}, 0.396);
    const auto sky = wcs.sky({1800, 100});
    write_table(path, "LIST",
                {{"col", "", "", Doubles{1800}},
                 {"row", "", "", Doubles{100}},
                 {"alpha", "", "", Doubles{sky.ra_deg}},
                 {"delta", "", "", Doubles{sky.dec_deg}},
                 {"r", "", "", Doubles{20}},
                 {"fr", "", "", Doubles{10}},
                 {"class", "", "", Doubles{6}}});
    const auto field = field_on_sky(wcs);

    const auto pixels = read_truth(path, field, {.x = "col", .y = "row", .mag = "r", .type = "class", .star_value = 6});
    REQUIRE(pixels.size() == 1);
    CHECK(pixels[0].x_px == 1800);
    CHECK(pixels[0].kind == TruthKind::star);
    CHECK_THAT(pixels[0].flux_nmgy, WithinAbs(10, 1e-12));

    const auto from_sky = read_truth(path, field, {.ra = "alpha", .dec = "delta", .flux = "fr"});
    REQUIRE(from_sky.size() == 1);
    CHECK_THAT(from_sky[0].x_px, WithinAbs(1800, 1e-3));
    CHECK_THAT(from_sky[0].y_px, WithinAbs(100, 1e-3));
    CHECK_THAT(from_sky[0].mag, WithinAbs(20, 1e-12));
    CHECK(from_sky[0].kind == TruthKind::unknown);

    CHECK_THAT(error_of([&] { return read_truth(path, field); }), ContainsSubstring("name its columns"));
    CHECK_THAT(error_of([&] { return read_truth(path, field, {.x = "col", .y = "row"}); }),
               ContainsSubstring("mag or flux"));
    CHECK_THAT(error_of([&] { return read_truth(path, field, {.x = "none", .y = "row", .mag = "r"}); }),
               ContainsSubstring("has no column none"));
    CHECK_THAT(error_of([&] { return read_truth(path, field_in_band("r"), {.ra = "alpha", .dec = "delta", .mag = "r"}); }),
               ContainsSubstring("has no sky coordinates"));
}

TEST_CASE("a field's corners give back the tangent projection they were made with") {
    // Near the pole and across right ascension 0 the plain differences of coordinates would fail.
    for (const survey::SkyPosition centre : {survey::SkyPosition{0.01, -0.9}, {359.99, 60}, {120, 85}}) {
        const auto wcs = survey::Wcs::tangent(centre, {1023.5, 744}, 0.396);
        const FieldPlane plane{field_on_sky(wcs)};
        for (const survey::PixelPosition pixel : {survey::PixelPosition{0, 0}, {2047, 1488}, {1500.25, 3}, {17, 1200.5}}) {
            const auto back = plane.pixel(wcs.sky(pixel));
            CHECK_THAT(back.x_px, WithinAbs(pixel.x_px, 1e-3));
            CHECK_THAT(back.y_px, WithinAbs(pixel.y_px, 1e-3));
        }
        CHECK(std::isnan(plane.pixel({std::fmod(centre.ra_deg + 180, 360), -centre.dec_deg}).x_px));
    }
}

TEST_CASE("a projection about another point near the field is good to .05 px") {
    const auto wcs = survey::Wcs::tangent({120, 30}, {1023.5 + 5000, 744 + 5000}, 0.396);  // .8 degrees away
    const FieldPlane plane{field_on_sky(wcs)};
    for (const survey::PixelPosition pixel : {survey::PixelPosition{0, 0}, {2047, 1488}, {1023.5, 744}, {17, 1200.5}}) {
        const auto back = plane.pixel(wcs.sky(pixel));
        CHECK_THAT(back.x_px, WithinAbs(pixel.x_px, 0.05));
        CHECK_THAT(back.y_px, WithinAbs(pixel.y_px, 0.05));
    }
}
