#include "bliss/catalog/ownership.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <map>
#include <numbers>

using namespace bliss;
using catalog::FieldCorners;
using catalog::SourceRow;

namespace {

constexpr double k_px_deg = 0.396 / 3600;

/// A field of 1489 x 2048 pixels by the place of its first pixel, in pixels from (0, 0) near the equator; it may be turned over.
FieldCorners field_at(double x_px, double y_px, bool turned = false) {
    FieldCorners corners{};
    const double x[] = {x_px, x_px + 2047, x_px + 2047, x_px}, y[] = {y_px, y_px, y_px + 1488, y_px + 1488};
    for (std::size_t k = 0; k < 4; ++k) {
        const std::size_t at = turned ? 3 - k : k;
        corners.ra_deg[at] = std::fmod(360 + y[k] * k_px_deg, 360);
        corners.dec_deg[at] = x[k] * k_px_deg;
    }
    corners.px_deg = k_px_deg;
    return corners;
}

/// Six fields like two columns of SDSS: 128 px of overlap along and across, the second column shifted.
std::vector<FieldCorners> six_fields() {
    std::vector<FieldCorners> fields;
    for (int column = 0; column < 2; ++column) {
        for (int along = 0; along < 3; ++along)
            fields.push_back(field_at(column * 1920.0, along * 1361.0 + column * 500 - 2000, column == 1));
    }
    return fields;
}

struct Seen {
    std::vector<std::vector<SourceRow>> rows;
    std::vector<std::vector<int>> who;   ///< true source of each row
    std::map<int, int> fields_that_see;  ///< of each true source
};

/// Every field sees the sources on it, with errors of its own.
Seen look(const std::vector<FieldCorners>& fields, int sources, double error_px, RandomStream& random) {
    Seen seen;
    seen.rows.resize(fields.size());
    seen.who.resize(fields.size());
    for (int k = 0; k < sources; ++k) {
        const double x = random.uniform(-50, 4000), y = random.uniform(-2050, 3000);
        for (std::size_t f = 0; f < fields.size(); ++f) {
            SourceRow row{};
            row.ra_deg = std::fmod(360 + (y + error_px * random.normal()) * k_px_deg, 360);
            row.dec_deg = (x + error_px * random.normal()) * k_px_deg;
            if (catalog::Footprint{fields[f]}.depth(catalog::direction_of({row.ra_deg, row.dec_deg})) < 0) continue;
            seen.rows[f].push_back(row);
            seen.who[f].push_back(k);
            ++seen.fields_that_see[k];
        }
    }
    return seen;
}

catalog::Ownership::PlacesOf places_of(const Seen& seen) {
    return [&seen](std::int64_t field) {
        std::vector<survey::SkyPosition> places;
        for (const SourceRow& row : seen.rows[static_cast<std::size_t>(field)]) places.push_back({row.ra_deg, row.dec_deg});
        return std::make_shared<const catalog::Places>(places);
    };
}

/// How often each true source is primary.
std::map<int, int> primaries(const std::vector<FieldCorners>& fields, Seen& seen) {
    const catalog::Ownership ownership{fields};
    std::map<int, int> count;
    for (std::size_t f = 0; f < fields.size(); ++f) {
        ownership.mark(static_cast<std::int64_t>(f), seen.rows[f], places_of(seen));
        for (std::size_t i = 0; i < seen.rows[f].size(); ++i) count[seen.who[f][i]] += seen.rows[f][i].primary;
    }
    return count;
}

}  // namespace

TEST_CASE("what overlapping fields see without error is primary in exactly one") {
    const auto fields = six_fields();
    RandomStream random{1, StreamPurpose::catalog, 0, 0};
    Seen seen = look(fields, 20'000, 0, random);
    int overlapping = 0;
    for (const auto& [source, count] : primaries(fields, seen)) {
        CHECK(count == 1);
        overlapping += seen.fields_that_see[source] > 1 ? 1 : 0;
    }
    CHECK(overlapping > 1000);
}

TEST_CASE("with errors of places a source near a border of ownership is still counted once") {
    const auto fields = six_fields();
    RandomStream random{2, StreamPurpose::catalog, 0, 0};
    int doubled = 0, lost = 0, at_border = 0;
    for (int round = 0; round < 5; ++round) {
        Seen seen = look(fields, 16'000, 0.3, random);
        for (const auto& [source, count] : primaries(fields, seen)) {
            doubled += count > 1 ? 1 : 0;
            // One that only a field sees which does not own its place may be lost: it lies within its error of an edge.
            lost += count == 0 && seen.fields_that_see[source] > 1 ? 1 : 0;
            at_border += seen.fields_that_see[source] > 1 ? 1 : 0;
        }
    }
    CHECK(at_border > 5000);
    CHECK(doubled == 0);
    CHECK(lost == 0);
}

TEST_CASE("a field that failed owns nothing, and one without neighbours everything") {
    auto fields = six_fields();
    for (const std::size_t failed : {1u, 3u, 4u, 5u}) {
        fields[failed].ra_deg.fill(std::nan(""));
        fields[failed].dec_deg.fill(std::nan(""));
    }
    RandomStream random{3, StreamPurpose::catalog, 0, 0};
    Seen seen = look(fields, 4'000, 0, random);
    for (const auto& [source, count] : primaries(fields, seen)) CHECK(count == 1);
    CHECK(seen.rows[1].empty());
    for (const SourceRow& row : seen.rows[0]) CHECK(row.primary == 1);

    // Rows of a field without a place on the sky are its own.
    SourceRow nowhere{};
    nowhere.ra_deg = nowhere.dec_deg = std::nan("");
    std::vector<SourceRow> rows{nowhere};
    catalog::Ownership{fields}.mark(1, rows, places_of(seen));
    CHECK(rows[0].primary == 1);
}

TEST_CASE("every place of joint draws is owned by one field") {
    const auto fields = six_fields();
    const catalog::Ownership ownership{fields};
    RandomStream random{4, StreamPurpose::catalog, 0, 0};
    for (int k = 0; k < 3000; ++k) {
        catalog::SampleRow row{};
        row.dec_deg = random.uniform(100, 3800) * k_px_deg;
        row.ra_deg = std::fmod(360 + random.uniform(-1400, 2000) * k_px_deg, 360);
        int owners = 0;
        for (std::size_t f = 0; f < fields.size(); ++f) {
            if (catalog::Footprint{fields[f]}.depth(catalog::direction_of({row.ra_deg, row.dec_deg})) < 0) continue;
            ownership.mark(static_cast<std::int64_t>(f), std::span{&row, 1});
            owners += row.primary;
        }
        CHECK(owners == 1);
    }
}

TEST_CASE("two visits of one field share its sources without doubling or losing any") {
    const std::vector<FieldCorners> fields{field_at(0, 0), field_at(0.3, -0.2), field_at(-0.1, 0.4)};
    RandomStream random{5, StreamPurpose::catalog, 0, 0};
    Seen seen = look(fields, 4'000, 0.05, random);
    int wrong = 0;
    for (const auto& [source, count] : primaries(fields, seen)) wrong += count != 1 && seen.fields_that_see[source] == 3 ? 1 : 0;
    CHECK(wrong <= 2);  // pairs of sources closer than their errors
}
