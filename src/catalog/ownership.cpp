#include "bliss/catalog/ownership.hpp"

#include "nanoflann_within.hpp"

#include <nanoflann.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace bliss::catalog {
namespace {

/// Rows of two fields farther apart are two sources, pixels.
constexpr double k_same_source_px = 2;

bool is_place(const Direction& at) { return std::isfinite(at.x) && std::isfinite(at.y) && std::isfinite(at.z); }

/// A field's claim to a place.
struct Claim {
    std::int64_t field;
    double depth;

    /// Whether this one takes precedence.
    [[nodiscard]] bool beats(const Claim& other) const { return depth > other.depth || (depth == other.depth && field < other.field); }
};

/// One source as one of several fields sees it.
struct Sighting {
    std::int64_t field;
    const Footprint* footprint;
    Direction at;
};

/// The field that a source belongs to of which several fields have a row, the same whichever of them asks.
std::int64_t owner_of(const std::vector<Sighting>& sightings) {
    const Sighting& first = *std::ranges::min_element(sightings, {}, &Sighting::field);
    Claim best{first.field, first.footprint->depth(first.at)};
    for (const Sighting& sighting : sightings) {
        const Claim claim{sighting.field, sighting.footprint->depth(first.at)};
        if (claim.beats(best)) best = claim;
    }
    return best.field;
}

}  // namespace

Places::Places(std::span<const survey::SkyPosition> places) {
    places_.reserve(places.size());
    for (const survey::SkyPosition& sky : places) {
        places_.push_back(direction_of(sky));
        if (is_place(places_.back())) by_z_.push_back(places_.size() - 1);
    }
    std::ranges::stable_sort(by_z_, {}, [&](std::size_t k) { return places_[k].z; });
}

std::optional<std::size_t> Places::nearest(const Direction& at, double radius) const {
    const auto z_of = [&](std::size_t k) { return places_[k].z; };
    std::optional<std::size_t> best;
    double least = radius * radius;
    for (auto k = std::ranges::lower_bound(by_z_, at.z - radius, {}, z_of); k != by_z_.end() && z_of(*k) <= at.z + radius; ++k) {
        const double squared = squared_distance(places_[*k], at);
        if (squared > least || (best && squared == least && *k > *best)) continue;
        best = *k;
        least = squared;
    }
    return best;
}

/// The fields' centres, to find those near one.
struct Ownership::Tree {
    std::vector<Direction> centres;
    std::vector<std::int64_t> fields;
    using Distance = nanoflann::L2_Simple_Adaptor<double, Tree>;
    std::unique_ptr<nanoflann::KDTreeSingleIndexAdaptor<Distance, Tree, 3, std::size_t>> index;

    [[nodiscard]] std::size_t kdtree_get_point_count() const { return centres.size(); }
    [[nodiscard]] double kdtree_get_pt(std::size_t i, std::size_t axis) const {
        return axis == 0 ? centres[i].x : axis == 1 ? centres[i].y : centres[i].z;
    }
    template <class Box>
    bool kdtree_get_bbox(Box&) const {
        return false;
    }
};

Ownership::Ownership(std::vector<FieldCorners> fields) : fields_{std::move(fields)} {
    auto tree = std::make_unique<Tree>();
    for (std::int64_t k = 0; k < std::ssize(fields_); ++k) {
        const Footprint footprint{fields_[static_cast<std::size_t>(k)]};
        if (!footprint.known()) continue;
        tree->centres.push_back(footprint.centre());
        tree->fields.push_back(k);
        farthest_reach_ = std::max(farthest_reach_, footprint.reach());
    }
    if (!tree->centres.empty()) {
        tree->index = std::make_unique<decltype(tree->index)::element_type>(3, *tree);
        tree->index->buildIndex();
    }
    tree_ = std::move(tree);
}

Ownership::~Ownership() = default;

std::vector<Ownership::Contender> Ownership::overlapping(std::int64_t field, const Footprint& own) const {
    std::vector<Contender> out;
    if (!own.known()) return out;
    const double radius = own.reach() + farthest_reach_;
    const double query[3] = {own.centre().x, own.centre().y, own.centre().z};
    Within within{radius * radius * (1 + 1e-9), {}};
    tree_->index->radiusSearchCustomCallback(query, within);
    std::ranges::sort(within.found);
    for (const std::size_t k : within.found) {
        const std::int64_t other = tree_->fields[k];
        const Footprint footprint{fields_[static_cast<std::size_t>(other)]};
        const double together = own.reach() + footprint.reach();
        if (other == field || squared_distance(own.centre(), footprint.centre()) > together * together) continue;
        out.push_back({other, footprint});
    }
    return out;
}

void Ownership::mark(std::int64_t field, std::span<SourceRow> rows, const PlacesOf& places_of) const {
    const Footprint own{fields_[static_cast<std::size_t>(field)]};
    const std::vector<Contender> others = overlapping(field, own);
    std::vector<std::shared_ptr<const Places>> theirs(others.size());
    std::optional<Places> mine;
    const auto my_places = [&]() -> const Places& {
        if (!mine) {
            std::vector<survey::SkyPosition> places;
            for (const SourceRow& row : rows) places.push_back({row.ra_deg, row.dec_deg});
            mine.emplace(places);
        }
        return *mine;
    };

    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].primary = 1;
        const Direction at = direction_of({rows[i].ra_deg, rows[i].dec_deg});
        if (others.empty() || !is_place(at)) continue;
        const Claim claim{field, own.depth(at)};
        Claim best = claim;
        double px_rad = own.px_rad();
        for (const Contender& other : others) {
            const Claim its{other.field, other.footprint.depth(at)};
            if (its.beats(best)) best = its;
            px_rad = std::max(px_rad, other.footprint.px_rad());
        }
        // A depth changes by no more than the place does. Two rows of one source are at most `radius` apart, so the difference of two
        // depths by at most twice that: beyond, both rows fall to the same field.
        const double radius = k_same_source_px * px_rad, border = best.depth - 2 * radius;
        std::vector<Sighting> sightings{{field, &own, at}};
        for (std::size_t k = 0; k < others.size() && claim.depth >= border; ++k) {
            const Contender& other = others[k];
            if (other.footprint.depth(at) < border) continue;
            if (!theirs[k]) theirs[k] = places_of(other.field);
            const double near = k_same_source_px * std::max(own.px_rad(), other.footprint.px_rad());
            const auto found = theirs[k]->nearest(at, near);
            if (found && my_places().nearest((*theirs[k])[*found], near) == i)
                sightings.push_back({other.field, &other.footprint, (*theirs[k])[*found]});
        }
        const std::int64_t owner = sightings.size() == 1 ? best.field : owner_of(sightings);
        rows[i].primary = owner == field ? 1 : 0;
    }
}

void Ownership::mark(std::int64_t field, std::span<SampleRow> rows) const {
    const Footprint own{fields_[static_cast<std::size_t>(field)]};
    const std::vector<Contender> others = overlapping(field, own);
    for (SampleRow& row : rows) {
        row.primary = 1;
        const Direction at = direction_of({row.ra_deg, row.dec_deg});
        if (!is_place(at)) continue;
        const Claim claim{field, own.depth(at)};
        for (const Contender& other : others) {
            const double reach = other.footprint.reach();
            if (squared_distance(at, other.footprint.centre()) > reach * reach) continue;  // not within it
            if (Claim{other.field, other.footprint.depth(at)}.beats(claim)) row.primary = 0;
        }
    }
}

}  // namespace bliss::catalog
