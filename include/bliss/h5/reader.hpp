#pragma once

#include "bliss/h5/member.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace bliss::h5 {

/// Version of the HDF5 library, "1.10.8".
[[nodiscard]] std::string library_version();

/// An HDF5 file open for reading by this process alone; needs no MPI.
/// Every member @throws H5Error naming the path, the object, what is absent or wrong, and HDF5's own message.
class Reader {
public:
    static Reader open(const std::filesystem::path& path);

    [[nodiscard]] bool has(const std::string& object) const;

    [[nodiscard]] std::int64_t read_integer_attribute(const std::string& object, const std::string& name) const;
    [[nodiscard]] double read_number_attribute(const std::string& object, const std::string& name) const;
    [[nodiscard]] std::string read_text_attribute(const std::string& object, const std::string& name) const;

    /// Rows of a 1-D dataset.
    [[nodiscard]] std::int64_t row_count(const std::string& dataset) const;

    /// All rows of a 1-D compound dataset. Members are found by name, whatever their order in the file; members the file
    /// has beyond these are skipped. @throws also when Row is not of the members' packed size.
    template <class Row>
    [[nodiscard]] std::vector<Row> read_rows(const std::string& dataset, std::span<const Member> members) const {
        static_assert(std::is_trivially_copyable_v<Row>);
        return read_rows<Row>(dataset, members, {0, row_count(dataset)});
    }

    /// Some of its rows; no others are read. @throws also when the dataset does not hold them
    template <class Row>
    [[nodiscard]] std::vector<Row> read_rows(const std::string& dataset, std::span<const Member> members, RowRange range) const {
        static_assert(std::is_trivially_copyable_v<Row>);
        check_row_bytes(dataset, members, sizeof(Row));
        check_range(dataset, range);
        std::vector<Row> rows(static_cast<std::size_t>(range.count));
        read_into(dataset, members, range.first, std::as_writable_bytes(std::span{rows}));
        return rows;
    }

    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();

private:
    struct Impl;
    explicit Reader(std::unique_ptr<Impl> impl);
    void check_row_bytes(const std::string& dataset, std::span<const Member> members, std::size_t bytes) const;
    void check_range(const std::string& dataset, RowRange range) const;
    void read_into(const std::string& dataset, std::span<const Member> members, std::int64_t first, std::span<std::byte> rows) const;

    std::unique_ptr<Impl> impl_;
};

}  // namespace bliss::h5
