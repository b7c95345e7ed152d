#pragma once

#include "bliss/catalog/footprint.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace bliss::catalog {

/// Where a field's sources are, to be looked up by place.
class Places {
public:
    explicit Places(std::span<const survey::SkyPosition> places);

    /// The nearest place within a straight distance (rad), of equally near ones the first. @return its number in the list given
    [[nodiscard]] std::optional<std::size_t> nearest(const Direction& at, double radius) const;

    [[nodiscard]] const Direction& operator[](std::size_t k) const { return places_[k]; }

private:
    std::vector<Direction> places_;
    std::vector<std::size_t> by_z_;  ///< of the places that are known, in ascending z
};

/// Which field owns which part of the sky. Where fields overlap, a place belongs to the one in which it is farthest from an edge (the first
/// of several), so that what is seen twice counts once; a field that failed owns nothing.
///
/// A source's place is not the same in two fields. Near a border of ownership, the rows of two fields that are each other's nearest within
/// two pixels are taken for one source, and one field is chosen for both: that in which the first one's place is deepest.
class Ownership {
public:
    /// @param fields in the order of /fields
    explicit Ownership(std::vector<FieldCorners> fields);
    ~Ownership();

    /// Another field's sources, asked for near borders only.
    using PlacesOf = std::function<std::shared_ptr<const Places>(std::int64_t field)>;

    /// Sets `primary` of all rows of a field. A row without a place on the sky is its field's own.
    void mark(std::int64_t field, std::span<SourceRow> rows, const PlacesOf& places_of) const;

    /// The same for joint draws, by place alone: each part of the sky is drawn by one field, which keeps expected numbers right.
    void mark(std::int64_t field, std::span<SampleRow> rows) const;

private:
    struct Tree;
    struct Contender {
        std::int64_t field;
        Footprint footprint;
    };
    [[nodiscard]] std::vector<Contender> overlapping(std::int64_t field, const Footprint& own) const;

    std::vector<FieldCorners> fields_;
    std::unique_ptr<const Tree> tree_;
    double farthest_reach_ = 0;
};

}  // namespace bliss::catalog
